package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/install"
)

// kubeconfigKey is the key of the Secret, as the hub reads it.
const kubeconfigKey = "kubeconfig"

type adder struct {
	env    *env.Env
	member Member
	source source

	mesh, hubNamespace, agentNamespace, image, breakGlass string
	set                                                   []string
	agent, components, keep, wait                         bool
	timeout                                               time.Duration
	meshGiven                                             bool
}

func newAdd(e *env.Env, m Member) *cobra.Command {
	o := &adder{env: e, member: m}
	cmd := &cobra.Command{
		Use: "add NAME --kubeconfig FILE", Short: "Register a cluster with the hub, and install the agent there",
		Long: `Register a cluster with the hub: check that it answers and what the user may do there, install the agent or bring it to the
version of this binary, make an account for the hub there (ServiceAccount meshlift-hub-access), store a kubeconfig with its token in the
hub, and wait until the hub is connected. The kubeconfig that is given here is used once and not stored. Again it does what is
missing, and ends the same.

The account may do what upgrades of Istio need, and read what lists show and what is installed; that includes Secrets, where Helm
keeps its releases. Upgrades of components are charts of others and can need anything, so for them it may do everything;
--components=false leaves that out.

` + exit.Help,
		Example: strings.ReplaceAll(`  {} cluster add east --kubeconfig east.kubeconfig --mesh shop

  # One context of a larger file; the hub is the current context of ~/.kube/config
  {} cluster add west --kubeconfig ~/.kube/all --context west-admin --mesh shop

  # The hub reaches the cluster by another address
  {} cluster add east --kubeconfig east.kubeconfig --server https://10.1.0.1:6443`, "{}", e.Program),
		Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.meshGiven = cmd.Flags().Changed("mesh")
			return o.run(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	o.source.addFlags(f, m)
	f.StringVar(&o.mesh, "mesh", "", "Mesh that the cluster belongs to; it is made when it is missing")
	f.StringVar(&o.hubNamespace, "hub-namespace", install.Namespace, "Namespace of the hub, for the Secret")
	f.StringVarP(&o.agentNamespace, "namespace", "n", install.Namespace, "Namespace of the agent in the cluster")
	f.BoolVar(&o.agent, "install-agent", true, "Install the agent, or bring it to the version of this binary")
	f.StringVar(&o.image, "image", "", "Image of the agent with its tag (default: the one of this version)")
	f.StringArrayVar(&o.set, "set", nil, "Value of the agent's chart, as path.to.key=YAML; may be repeated")
	f.BoolVar(&o.components, "components", true, "Let the hub upgrade components, for which its account may do everything in the cluster")
	f.BoolVar(&o.keep, "keep-credentials", false, "Store the credentials that are given, instead of making an account for the hub")
	f.StringVar(&o.breakGlass, "break-glass", "", "Override a refusal, with the reason in a sentence, which is recorded")
	f.BoolVar(&o.wait, "wait", true, "Wait until the hub is connected and the agent reports")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "How long to wait")
	return cmd
}

func (o *adder) run(ctx context.Context, name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return exit.Usagef("%q cannot be the name of a cluster: %s", name, problems[0])
	}
	admin, err := o.source.load()
	if err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	there, err := o.member.Connect(admin)
	if err != nil {
		return err
	}
	if err := o.check(ctx, c, there, name, admin); err != nil {
		return err
	}
	if o.agent {
		if err := o.installAgent(ctx, there, admin); err != nil {
			return fmt.Errorf("install the agent in cluster %q: %w", name, err)
		}
	}
	kubeconfig, err := o.credentials(ctx, there, name, admin)
	if err != nil {
		return err
	}
	if err := o.register(ctx, c, name, kubeconfig); err != nil {
		return hubError(o.env, err)
	}
	if _, err := fmt.Fprintf(o.env.Out, "Cluster %s is registered with the hub.\n", name); err != nil || !o.wait {
		return err
	}
	return connected(ctx, o.env, c, name, o.agent, o.timeout)
}

// check refuses what would fail later, before anything has changed.
func (o *adder) check(ctx context.Context, c client.Client, there client.Client, name string, admin *rest.Config) error {
	clusters, err := all(ctx, o.env, c)
	if err != nil {
		return err
	}
	if err := reach(ctx, there, name, o.source.file, o.components && !o.keep); err != nil {
		return err
	}
	if err := notAnother(ctx, there, name, o.source.address(admin), clusters); err != nil {
		return err
	}
	if o.mesh != "" {
		m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: o.mesh}}
		if err := c.Get(ctx, client.ObjectKeyFromObject(m), m); apierrors.IsNotFound(err) {
			err = c.Create(ctx, m)
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return hubError(o.env, fmt.Errorf("create Mesh %q: %w", o.mesh, err))
			}
		} else if err != nil {
			return hubError(o.env, fmt.Errorf("read Mesh %q: %w", o.mesh, err))
		}
	}
	return hubError(o.env, o.write(ctx, c, name, client.DryRunAll))
}

func (o *adder) installAgent(ctx context.Context, there client.WithWatch, admin *rest.Config) error {
	return install.Into(ctx, o.env, there, func() (install.Releases, error) { return o.member.Releases(admin) }, install.Agent{
		Namespace: o.agentNamespace, Image: o.image, Set: o.set, Wait: o.wait, Timeout: o.timeout,
	})
}

// credentials makes the kubeconfig that the hub stores.
func (o *adder) credentials(ctx context.Context, there client.Client, name string, admin *rest.Config) ([]byte, error) {
	kubeconfig, err := []byte(nil), error(nil)
	if o.keep {
		kubeconfig, err = o.source.keep()
	} else {
		if err := ensureNamespace(ctx, there, o.agentNamespace); err != nil {
			return nil, err
		}
		var token *corev1.Secret
		if token, err = account(ctx, there, o.agentNamespace, o.components, false); err != nil {
			return nil, fmt.Errorf("make an account for the hub in cluster %q: %w", name, err)
		}
		kubeconfig, err = o.source.withToken(admin, name, token.Data[corev1.ServiceAccountRootCAKey], string(token.Data[corev1.ServiceAccountTokenKey]))
	}
	if err != nil {
		return nil, err
	}
	if err := o.member.Check(kubeconfig); err != nil {
		return nil, exit.Refusedf("the hub cannot use these credentials: %w", err)
	}
	return kubeconfig, nil
}

func ensureNamespace(ctx context.Context, c client.Client, name string) error {
	err := c.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
	if apierrors.IsNotFound(err) {
		err = c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make namespace %q: %w", name, err)
	}
	return nil
}

// register writes the Secret first, so that the hub finds it, and has the MemberCluster own it then.
func (o *adder) register(ctx context.Context, c client.Client, name string, kubeconfig []byte) error {
	if err := store(ctx, c, o.hubNamespace, secretName(name), kubeconfig, nil); err != nil {
		return err
	}
	if err := o.write(ctx, c, name); err != nil {
		return err
	}
	m := &hub.MemberCluster{}
	if err := c.Get(ctx, client.ObjectKey{Name: name}, m); err != nil {
		return fmt.Errorf("read MemberCluster %q: %w", name, err)
	}
	return store(ctx, c, o.hubNamespace, secretName(name), kubeconfig, m)
}

func secretName(cluster string) string { return "cluster-" + cluster }

// store applies the Secret with the kubeconfig of a cluster.
func store(ctx context.Context, c client.Client, namespace, name string, kubeconfig []byte, owner *hub.MemberCluster) error {
	s := corev1ac.Secret(name, namespace).WithType(corev1.SecretTypeOpaque).WithData(map[string][]byte{kubeconfigKey: kubeconfig}).
		WithLabels(map[string]string{"app.kubernetes.io/part-of": "meshlift"})
	if owner != nil {
		s.WithOwnerReferences(metav1ac.OwnerReference().WithAPIVersion(hub.GroupVersion.String()).WithKind("MemberCluster").WithName(owner.Name).WithUID(owner.UID))
	}
	if err := c.Apply(ctx, s, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("store the kubeconfig in Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

// write creates the MemberCluster, or changes what was asked to be different.
func (o *adder) write(ctx context.Context, c client.Client, name string, dryRun ...client.CreateOption) error {
	m := &hub.MemberCluster{}
	err := c.Get(ctx, client.ObjectKey{Name: name}, m)
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return fmt.Errorf("read MemberCluster %q: %w", name, err)
	}
	before := m.DeepCopy()
	m.Name, m.Spec.KubeconfigSecret, m.Spec.AgentNamespace = name, secretName(name), o.agentNamespace
	if o.meshGiven {
		m.Spec.Mesh = o.mesh
	}
	if o.breakGlass != "" {
		m.Annotations = maps.Clone(m.Annotations)
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[hub.BreakGlassAnnotation] = o.breakGlass
	}
	if missing {
		err = c.Create(ctx, m, dryRun...)
	} else {
		options := []client.PatchOption{}
		if len(dryRun) > 0 {
			options = append(options, client.DryRunAll)
		}
		err = c.Patch(ctx, m, client.MergeFrom(before), options...)
	}
	if err != nil {
		return fmt.Errorf("register cluster %q: %w", name, err)
	}
	return nil
}

var errGone = errors.New("it was removed meanwhile")
