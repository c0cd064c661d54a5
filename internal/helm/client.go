package helm

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// FieldManager owns the fields that Helm writes.
const FieldManager = "helm"

// Options of a [Client].
type Options struct {
	// REST is how the API server is reached.
	REST *rest.Config
	// Driver is where releases are stored, as in HELM_DRIVER: "secret" (default), "configmap" or "sql".
	Driver string
	// HTTP reads Helm repositories; default: a client with a timeout of one minute.
	HTTP *http.Client
	// PlainHTTP speaks http with OCI registries.
	PlainHTTP bool
	// Patience is how long a pending release of somebody else is left alone; default 5 minutes.
	Patience time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
	// BuiltIn are the charts of [release.BuiltIn] by name.
	BuiltIn map[string]fs.FS
	// Log of what Helm does; default: nothing.
	Log *slog.Logger
}

// Client installs, upgrades and removes releases. Calls that write are done one after the other. It is safe for
// concurrent use.
type Client struct {
	options Options
	writing sync.Mutex
	charts  cache
	known   known
}

// New returns a client. It does not connect yet.
func New(o Options) (*Client, error) {
	if o.REST == nil {
		return nil, errors.New("make helm client: no REST configuration")
	}
	o.REST = rest.CopyConfig(o.REST)
	o.REST.QPS, o.REST.Burst = 50, 200 // one release has some 40 objects, and Helm asks for each
	if o.REST.Timeout == 0 {
		o.REST.Timeout = time.Minute
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{Timeout: time.Minute}
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	kube.ManagedFieldsManager = FieldManager // a global of the SDK; always the same value
	return &Client{options: o}, nil
}

// configuration makes the SDK's dependencies for one call: discovery is read anew, because CRDs come and go.
func (c *Client) configuration(namespace string) (*action.Configuration, error) {
	getter, err := newGetter(c.options.REST, namespace)
	if err != nil {
		return nil, fmt.Errorf("connect helm to the cluster: %w", err)
	}
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(c.options.Log.Handler()))
	if err := cfg.Init(getter, namespace, c.options.Driver); err != nil {
		return nil, fmt.Errorf("initialise helm: %w", err)
	}
	return cfg, nil
}

// getter hands a fixed REST configuration to Helm.
type getter struct {
	config    *rest.Config
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.RESTMapper
	loader    clientcmd.ClientConfig
}

func newGetter(config *rest.Config, namespace string) (*getter, error) {
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	cached := memory.NewMemCacheClient(d)
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: namespace}}
	return &getter{
		config: config, discovery: cached,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
		loader: clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides),
	}, nil
}

// ToRESTConfig implements genericclioptions.RESTClientGetter.
func (g *getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.config), nil }

// ToDiscoveryClient implements genericclioptions.RESTClientGetter.
func (g *getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.discovery, nil
}

// ToRESTMapper implements genericclioptions.RESTClientGetter.
func (g *getter) ToRESTMapper() (meta.RESTMapper, error) { return g.mapper, nil }

// ToRawKubeConfigLoader implements genericclioptions.RESTClientGetter; only its namespace is used.
func (g *getter) ToRawKubeConfigLoader() clientcmd.ClientConfig { return g.loader }
