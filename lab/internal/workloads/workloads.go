// Package workloads installs Istio and sample workloads in a cluster, in the way in which a user would: Istio and its
// gateways by Helm, the rest by server-side apply.
package workloads

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"log/slog"
	"os"
	"text/template"

	"golang.org/x/sync/errgroup"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"meshlift.dev/meshlift/lab/internal/apply"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// deploymentsPerNamespace is the size of one namespace of the workload "scale".
const deploymentsPerNamespace = 50

// applyWorkers is how many namespaces of the workload "scale" are written at once.
const applyWorkers = 8

// Mesh says which Istio to install.
type Mesh struct {
	Version  string   // "" for none
	Revision string   // "" for an un-revisioned control plane
	Tags     []string // revision tags that the istiod chart makes
	Hub      string
	// Cluster is the name of the cluster in the mesh, "" for Istio's default.
	Cluster string
}

// Target is a cluster to install to.
type Target struct {
	Name       string
	REST       *rest.Config
	Kubeconfig string // for Helm
	Log        *slog.Logger
	// Report tells the user about progress.
	Report func(what string)
	// Rollouts is the file of the manifest of Argo Rollouts.
	Rollouts string
	// Chart loads a chart of an Istio version.
	Chart func(name, version string) (*chartv2.Chart, error)
}

// Label returns the namespace label that selects the mesh's revision, as "key: value".
func (m Mesh) Label() string {
	switch {
	case m.Version == "":
		return ""
	case m.Revision == "":
		return "istio-injection: enabled"
	default:
		return fmt.Sprintf("istio.io/rev: %q", m.Revision)
	}
}

// Install installs the mesh and the selected workloads and waits until all of it is available.
func Install(ctx context.Context, t Target, mesh Mesh, s Selection) error {
	if mesh.Version == "" && s.NeedsMesh() {
		return fmt.Errorf("%s: the workloads grpc, gateway and egress need Istio", t.Name)
	}
	client, err := apply.New(t.REST)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(t.REST)
	if err != nil {
		return fmt.Errorf("client of %s: %w", t.Name, err)
	}
	if mesh.Version != "" {
		if err := installIstio(ctx, t, client, mesh); err != nil {
			return fmt.Errorf("Istio %s in %s: %w", mesh.Version, t.Name, err)
		}
		if err := awaitInjection(ctx, kube, mesh); err != nil {
			return fmt.Errorf("Istio %s in %s: %w", mesh.Version, t.Name, err)
		}
		t.Report(fmt.Sprintf("Istio %s is up as revision %s", mesh.Version, orDefault(mesh.Revision)))
	}
	if err := installWorkloads(ctx, t, client, mesh, s); err != nil {
		return fmt.Errorf("workloads of %s: %w", t.Name, err)
	}
	if err := awaitAvailable(ctx, kube); err != nil {
		return fmt.Errorf("workloads of %s: %w", t.Name, err)
	}
	return nil
}

func installWorkloads(ctx context.Context, t Target, client *apply.Client, mesh Mesh, s Selection) error {
	group, ctx := errgroup.WithContext(ctx)
	if s.Bookinfo {
		group.Go(func() error { return applyTemplate(ctx, client, "bookinfo.yaml", values{Label: mesh.Label()}) })
	}
	if s.GRPC {
		group.Go(func() error { return applyTemplate(ctx, client, "grpc.yaml", values{Label: mesh.Label()}) })
	}
	if s.Gateway {
		group.Go(func() error { return installGateway(ctx, t, client, mesh, "istio-ingress", "istio-ingressgateway") })
	}
	if s.Egress {
		group.Go(func() error { return installGateway(ctx, t, client, mesh, "istio-egress", "istio-egressgateway") })
	}
	if s.Rollouts {
		group.Go(func() error { return applyRollouts(ctx, t, client) })
	}
	if s.Scale > 0 {
		group.Go(func() error { return applyScale(ctx, client, mesh, s.Scale) })
	}
	return group.Wait()
}

// values are what the manifests depend on.
type values struct {
	Label       string // of the namespace, "" for none
	Namespace   string
	Deployments []string
}

// applyRollouts is `kubectl apply -n argo-rollouts -f install.yaml`.
func applyRollouts(ctx context.Context, t Target, client *apply.Client) error {
	const home = "argo-rollouts"
	manifest, err := os.ReadFile(t.Rollouts)
	if err != nil {
		return fmt.Errorf("Argo Rollouts: %w", err)
	}
	objects, err := apply.Decode(manifest)
	if err != nil {
		return fmt.Errorf("Argo Rollouts: %w", err)
	}
	objects = append([]*unstructured.Unstructured{namespace(home, nil)}, objects...)
	for _, o := range objects {
		if apply.Namespaced(o.GetKind()) {
			o.SetNamespace(home)
		}
		if err := client.Object(ctx, o); err != nil {
			return fmt.Errorf("Argo Rollouts: %w", err)
		}
	}
	return nil
}

func applyTemplate(ctx context.Context, client *apply.Client, name string, v values) error {
	rendered, err := render(name, v)
	if err != nil {
		return err
	}
	return client.YAML(ctx, rendered)
}

func render(name string, v values) ([]byte, error) {
	t, err := template.New(name).ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, err)
	}
	return out.Bytes(), nil
}

func applyScale(ctx context.Context, client *apply.Client, mesh Mesh, namespaces int) error {
	var names []string
	for i := range deploymentsPerNamespace {
		names = append(names, fmt.Sprintf("app-%02d", i))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(applyWorkers)
	for i := range namespaces {
		group.Go(func() error {
			return applyTemplate(ctx, client, "scale.yaml", values{Label: mesh.Label(), Namespace: fmt.Sprintf("scale-%d", i), Deployments: names})
		})
	}
	return group.Wait()
}
