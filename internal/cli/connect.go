package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/charts"
	"meshlift.dev/meshlift/internal/cli/bundle"
	"meshlift.dev/meshlift/internal/cli/cluster"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/install"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/member"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/observe"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/survey"
	"meshlift.dev/meshlift/internal/xds"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

// resync is how often an object is read again although a watch runs.
const resync = 15 * time.Second

// NewEnv is the outside world of a real process that was called as argv0.
func NewEnv(argv0, version string, flags *genericclioptions.ConfigFlags) *env.Env {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	k := &kube{flags: flags}
	return &env.Env{
		IOStreams: streams, Program: env.ProgramName(argv0, podNamespace()), Version: version,
		Connect:    sync.OnceValues(k.connect),
		Cluster:    k.cluster,
		Inventory:  k.inventory,
		Survey:     k.survey,
		DataPlanes: k.dataPlanes,
		Istiods:    k.istiods,
		Kubernetes: k.version,
		Now:        time.Now,
		Resync:     resync,
		Terminal:   terminal(os.Stdin, os.Stdout, os.Environ()),
	}
}

// Flags are the flags of kubectl that say which cluster and which user. All kinds are cluster-wide, so there is no namespace.
func Flags() *genericclioptions.ConfigFlags {
	f := genericclioptions.NewConfigFlags(true)
	f.Namespace = nil
	return f
}

// podNamespace is the namespace of the pod that the process runs in; "" elsewhere.
func podNamespace() string {
	if os.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return ""
	}
	data, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return os.Getenv("POD_NAMESPACE")
	}
	return strings.TrimSpace(string(data))
}

func terminal(in, out *os.File, environ []string) env.Terminal {
	t := env.Terminal{In: term.IsTerminal(int(in.Fd())), Out: term.IsTerminal(int(out.Fd())), Environ: environ}
	name := os.Getenv("TERM")
	if name == "" && t.In && t.Out {
		// A terminal that "kubectl exec -it" brings into a container without saying which.
		name = "xterm"
		t.Environ = append(slices.Clone(environ), "TERM="+name)
	}
	t.Dumb = name == "dumb" || name == ""
	t.Color = t.Out && !t.Dumb && os.Getenv("NO_COLOR") == ""
	t.Width = func() int {
		if !t.Out {
			return 0
		}
		width, _, err := term.GetSize(int(out.Fd()))
		if err != nil {
			return 0
		}
		return width
	}
	return t
}

// kube connects to the cluster that the flags name; without a kubeconfig, in a pod, that is the pod's own cluster.
type kube struct {
	flags *genericclioptions.ConfigFlags
}

func (k *kube) config() (*rest.Config, error) {
	config, err := k.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	config.QPS, config.Burst = 50, 100
	config.UserAgent = rest.DefaultKubernetesUserAgent() + " meshlift-cli"
	// Warnings of the API server are for the authors of manifests; here they would break the screen.
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

func (k *kube) connect() (client.WithWatch, error) {
	config, err := k.config()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: env.Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return patient(c, restarting), nil
}

// cluster is the name that the kubeconfig gives to the cluster, with its address.
func (k *kube) cluster() string {
	config, err := k.flags.ToRESTConfig()
	if err != nil {
		return "unknown"
	}
	raw, err := k.flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return config.Host
	}
	name := raw.CurrentContext
	if k.flags.Context != nil && *k.flags.Context != "" {
		name = *k.flags.Context
	}
	if name == "" {
		return config.Host
	}
	return name + " (" + config.Host + ")"
}

func (k *kube) discovery() (*discovery.DiscoveryClient, error) {
	config, err := k.config()
	if err != nil {
		return nil, err
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return d, nil
}

func (k *kube) version() (string, error) {
	d, err := k.discovery()
	if err != nil {
		return "", err
	}
	v, err := d.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("read the version of the API server: %w", err)
	}
	return v.GitVersion, nil
}

// Releases connects Helm to the cluster that the flags name.
func Releases(flags *genericclioptions.ConfigFlags) (install.Releases, error) {
	config, err := (&kube{flags}).config()
	if err != nil {
		return nil, err
	}
	return helm.New(helm.Options{REST: config})
}

// Cluster returns "meshlift cluster".
func Cluster(e *env.Env, flags *genericclioptions.ConfigFlags) *cobra.Command {
	return cluster.NewCommand(e, cluster.Member{
		Connect: func(config *rest.Config) (client.WithWatch, error) {
			c, err := client.NewWithWatch(config, client.Options{Scheme: env.Scheme()})
			if err != nil {
				return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
			}
			return patient(c, restarting), nil
		},
		Releases: func(config *rest.Config) (install.Releases, error) { return helm.New(helm.Options{REST: config}) },
		Check: func(kubeconfig []byte) error {
			_, err := member.Parse(kubeconfig)
			return err
		},
		HubKubeconfig: flags.KubeConfig, HubContext: flags.Context,
	})
}

// Bundle returns "meshlift bundle" with the charts that are built in.
func Bundle(e *env.Env) *cobra.Command {
	agent, err := charts.Agent()
	if err != nil {
		panic(err) // it is embedded; a test reads it
	}
	hub, err := charts.Hub()
	if err != nil {
		panic(err)
	}
	return bundle.NewCommand(e, func(plain bool) bundle.Repositories { return helm.NewRepositories(plain) }, agent, hub)
}

func (k *kube) inventory(ctx context.Context, c client.Client, istioNamespace string) (*mesh.Inventory, error) {
	d, err := k.discovery()
	if err != nil {
		return nil, err
	}
	return observe.New(c, istioNamespace, observe.WithDiscovery(d)).Inventory(ctx)
}

func (k *kube) surveyor() (*survey.Surveyor, error) {
	config, err := k.config()
	if err != nil {
		return nil, err
	}
	return survey.New(config, env.Scheme())
}

func (k *kube) dataPlanes(ctx context.Context, inv *mesh.Inventory) (*xdsdiff.Facts, error) {
	s, err := k.surveyor()
	if err != nil {
		return nil, err
	}
	return s.DataPlanes(ctx, inv)
}

// istiods are reached at their addresses from a pod, and through the API server from elsewhere.
func (k *kube) istiods(istioNamespace string) (env.Istiods, error) {
	config, err := k.config()
	if err != nil {
		return nil, err
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	var options []xds.Option
	if podNamespace() == "" {
		options = append(options, xds.WithForward(config))
	}
	return xds.New(clients, istioNamespace, options...).Questions(), nil
}

func (k *kube) survey(ctx context.Context, f *preflight.Facts) error {
	s, err := k.surveyor()
	if err != nil {
		return err
	}
	s.Fill(ctx, f)
	return nil
}
