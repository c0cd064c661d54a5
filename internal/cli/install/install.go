package install

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/release"
)

// Names that people and the chart rely on.
const (
	// Release is the name of the Helm release, unless the namespace has one of this name that is another part of Meshlift.
	Release = "meshlift"
	// Namespace is where the agent is installed unless --namespace says otherwise.
	Namespace = "cpaas-system"
	// Deployment of the agent.
	Deployment = "asm-controller"

	fieldManager = "meshlift-install"
)

// Releases installs and removes Helm releases; package helm implements it.
type Releases interface {
	Apply(ctx context.Context, s release.Spec) error
	Render(ctx context.Context, s release.Spec) ([]*unstructured.Unstructured, error)
	Release(ctx context.Context, namespace, name string) (*release.Release, error)
	Uninstall(ctx context.Context, namespace, name string) error
}

type options struct {
	env       *env.Env
	part      part
	releases  func() (Releases, error)
	namespace string
	image     string
	set       []string
	reset     bool
	dryRun    bool
	wait      bool
	timeout   time.Duration
}

// NewCommand returns the command "install"; releases connects to the cluster that the flags name.
func NewCommand(e *env.Env, releases func() (Releases, error)) *cobra.Command {
	o := &options{env: e, releases: releases, part: agent}
	ofHub := false
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install or upgrade the agent, or the hub, in this cluster",
		Long: `Install the agent in this cluster, or bring it to the version of this binary: first the kinds (CRDs, which Helm does not
upgrade), then the chart that is built in. Nothing changes in the mesh. Values that were set before stay set. With --hub it is the
hub of many clusters, for "meshlift mesh" and "meshlift cluster add".

It needs the rights of a cluster administrator.

` + exit.Help,
		Example: strings.ReplaceAll(`  {} install

  # From a private registry, with one replica
  {} install --image registry.example.com/meshlift/meshlift:0.1.0 --set replicas=1

  # The hub, with its pages and its API
  {} install --hub

  # See what would be applied
  {} install --dry-run`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ofHub {
				o.part = hub
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&ofHub, "hub", false, "Install the hub of many clusters, and not the agent of this one")
	f.StringVarP(&o.namespace, "namespace", "n", Namespace, "Namespace of the agent or hub; it is made when it is missing")
	f.StringVar(&o.image, "image", "", "Image with its tag, the same for both (default: the one of this version)")
	f.StringArrayVar(&o.set, "set", nil, "Value of the chart, as path.to.key=YAML; may be repeated")
	f.BoolVar(&o.reset, "reset-values", false, "Forget the values that were set before")
	f.BoolVar(&o.dryRun, "dry-run", false, "Print the objects and change nothing")
	f.BoolVar(&o.wait, "wait", true, "Wait until it is ready")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "How long to wait")
	env.CompleteFlag(cmd, "namespace", e.CompleteNamespaces)
	return cmd
}

// Agent says how the agent is to be installed.
type Agent struct {
	// Namespace of it.
	Namespace string
	// Image with its tag; "" for the one of this version.
	Image string
	// Set are values of the chart, as path.to.key=YAML.
	Set []string
	// Wait until it is ready, for Timeout at most.
	Wait    bool
	Timeout time.Duration
}

// Into installs the agent in a cluster that the flags of the command do not name, as "install" does.
func Into(ctx context.Context, e *env.Env, c client.WithWatch, releases func() (Releases, error), a Agent) error {
	return (&options{env: e, releases: releases, part: agent, namespace: a.Namespace, image: a.Image, set: a.Set, wait: a.Wait, timeout: a.Timeout}).into(ctx, c)
}

func (o *options) run(ctx context.Context) error {
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	if err := o.into(ctx, c); err != nil || o.dryRun {
		return err
	}
	_, err = fmt.Fprintln(o.env.Out, strings.ReplaceAll(o.part.next, "{}", o.env.Program))
	return err
}

func (o *options) into(ctx context.Context, c client.WithWatch) error {
	supplied, err := Values(o.image, o.set)
	if err != nil {
		return err
	}
	helm, err := o.releases()
	if err != nil {
		return o.env.API(err)
	}
	spec, cleanup, err := o.spec(ctx, helm, supplied)
	if err != nil {
		return err
	}
	defer cleanup()
	if o.dryRun {
		return o.print(ctx, helm, spec)
	}
	if o.part.adopts {
		if err := requireIstio(ctx, c, spec.Values); err != nil {
			return o.env.API(err)
		}
	}
	if err := o.apply(ctx, c, helm, spec); err != nil {
		return o.env.API(err)
	}
	if o.wait {
		if err := o.part.waitReady(ctx, c, o.namespace, o.timeout); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(o.env.Out, "The %s of Meshlift %s is installed in namespace %s.\n", o.part.name, spec.Source.Version, o.namespace)
	return err
}

// spec is the release as it should be; cleanup removes the unpacked chart.
func (o *options) spec(ctx context.Context, helm Releases, supplied map[string]any) (s release.Spec, cleanup func(), err error) {
	files, err := o.part.files()
	if err != nil {
		return s, nil, err
	}
	version, err := chartVersion(files)
	if err != nil {
		return s, nil, err
	}
	values := map[string]any{}
	name, before, err := o.part.release(ctx, helm, o.namespace)
	if err != nil {
		return s, nil, o.env.API(err)
	}
	if before != nil && !o.reset {
		values = before.Values
	}
	dir, err := os.MkdirTemp("", "meshlift-chart-")
	if err != nil {
		return s, nil, fmt.Errorf("unpack chart: %w", err)
	}
	cleanup = func() { _ = os.RemoveAll(dir) } // a temporary directory that stays is not worth an error
	if err := os.CopyFS(filepath.Join(dir, o.part.chart), files); err != nil {
		cleanup()
		return s, nil, fmt.Errorf("unpack chart: %w", err)
	}
	return release.Spec{
		Name: name, Namespace: o.namespace, Values: merge(values, supplied),
		Source: release.Source{Repository: dir, Name: o.part.chart, Version: version},
		Labels: o.part.labels,
		Force:  true, // repair what was deleted by hand
	}, cleanup, nil
}

// release is the name of the part's release in a namespace, and the release when there is one. A release of another chart that
// has the usual name, like that of a hub whose own cluster is one of its clusters, is left alone.
func (p part) release(ctx context.Context, helm Releases, namespace string) (name string, there *release.Release, err error) {
	for _, candidate := range []string{Release, p.second} {
		r, err := helm.Release(ctx, namespace, candidate)
		switch {
		case isNotFound(err) && name == "":
			name = candidate
		case isNotFound(err):
		case err != nil:
			return "", nil, err
		case r.Chart == p.chart:
			return candidate, r, nil
		}
	}
	if name == "" {
		return "", nil, exit.Refusedf("the Helm releases %q and %q in namespace %q are not the %[4]s: uninstall one of them, or install the %[4]s into another namespace with --namespace", Release, p.second, namespace, p.name)
	}
	return name, nil, nil
}

func (o *options) print(ctx context.Context, helm Releases, spec release.Spec) error {
	objects, err := helm.Render(ctx, spec)
	if err != nil {
		return o.env.API(err)
	}
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("print %s %q: %w", object.GetKind(), object.GetName(), err)
		}
		if _, err := fmt.Fprintf(o.env.Out, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// requireIstio refuses where there is no namespace for the agent's rights: the agent adopts an Istio, it does not bring one.
func requireIstio(ctx context.Context, c client.Client, values map[string]any) error {
	name, ok := values["istioNamespace"].(string)
	if !ok {
		name = "istio-system"
	}
	err := c.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		return exit.Refusedf("there is no namespace %q, so there is no Istio that could be upgraded: install Istio first, or name its namespace with --set istioNamespace=NAME", name)
	}
	return err
}

func (o *options) apply(ctx context.Context, c client.Client, helm Releases, spec release.Spec) error {
	crds, err := o.part.crds()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply CustomResourceDefinition %q: %w", crd.GetName(), err)
		}
		if crd.GetDeletionTimestamp() != nil {
			return exit.Refusedf("CustomResourceDefinition %q is being deleted: wait until it is gone, then install again", crd.GetName())
		}
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: o.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := c.Create(ctx, namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %q: %w", o.namespace, err)
	}
	return helm.Apply(ctx, spec)
}

func chartVersion(files fs.FS) (string, error) {
	data, err := fs.ReadFile(files, "Chart.yaml")
	if err != nil {
		return "", fmt.Errorf("read chart: %w", err)
	}
	var chart struct {
		Version string `json:"version"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		return "", fmt.Errorf("parse Chart.yaml: %w", err)
	}
	return chart.Version, nil
}
