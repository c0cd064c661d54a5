// Package agent wires Meshlift's member part: one process per member cluster that discovers the mesh and carries its
// upgrades. Several replicas may run; one leads, all serve admission.
package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/certs"
	"meshlift.dev/meshlift/internal/controller/clusterupgrade"
	controlplanecontroller "meshlift.dev/meshlift/internal/controller/controlplane"
	"meshlift.dev/meshlift/internal/controller/dataplanerollout"
	"meshlift.dev/meshlift/internal/controller/sidecars"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/observe"
	"meshlift.dev/meshlift/internal/prom"
	"meshlift.dev/meshlift/internal/restart"
	"meshlift.dev/meshlift/internal/routing"
	"meshlift.dev/meshlift/internal/version"
	"meshlift.dev/meshlift/internal/webhook"
	"meshlift.dev/meshlift/internal/xds"
)

// Config of the agent. The zero value is not usable; see [NewCommand] for the defaults.
type Config struct {
	REST *rest.Config
	// Namespace of the agent itself.
	Namespace string
	// IstioNamespace is used until a ControlPlane object says otherwise.
	IstioNamespace string
	LeaderElect    bool
	// LeaseDuration is how long a leader that died without a word is waited for.
	LeaseDuration time.Duration
	// MetricsAddress, HealthAddress: "host:port", "0" to serve nothing.
	MetricsAddress, HealthAddress string
	// WebhookPort of the admission webhooks; 0 to serve none.
	WebhookPort int
	// WebhookService is the name of the Service in front of the webhooks.
	WebhookService string
	// WebhookSecret is the name of the Secret that holds their certificate.
	WebhookSecret string
	// Handover is the mode of handovers; "" chooses by the version of Kubernetes.
	Handover handover.Mode
	// InstallTimeout is how long a new istiod may take to become ready.
	InstallTimeout time.Duration
	// Clock of the decisions; nil for the real one.
	Clock clock.Clock
	Log   logr.Logger
}

// Run runs the agent until the context ends.
func Run(ctx context.Context, c Config) error {
	ctrl.SetLogger(c.Log)
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	c.REST = counted(c.REST)
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	c.IstioNamespace, err = istioNamespace(ctx, c.REST, scheme, c.IstioNamespace)
	if err != nil {
		return err
	}
	var keeper *certs.Keeper
	mgr, err := newManager(c, scheme, &keeper)
	if err != nil {
		return err
	}
	if c.WebhookPort != 0 {
		if keeper, err = serveCertificates(ctx, mgr, c); err != nil {
			return err
		}
	}
	if err := wire(ctx, mgr, c); err != nil {
		return err
	}
	if err := probes(mgr, keeper); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the agent: %w", err)
	}
	return nil
}

// Scheme knows every kind that the agent uses.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register the kinds of Kubernetes: %w", err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register the kinds of Meshlift: %w", err)
	}
	return s, nil
}

func newManager(c Config, scheme *runtime.Scheme, keeper **certs.Keeper) (manager.Manager, error) {
	renew, retry := c.LeaseDuration*2/3, c.LeaseDuration/8 // the proportions of Kubernetes' own components
	o := ctrl.Options{
		Scheme: scheme, Logger: c.Log, Cache: observe.CacheOptions(c.IstioNamespace),
		Metrics: metricsserver.Options{BindAddress: c.MetricsAddress}, HealthProbeBindAddress: c.HealthAddress,
		LeaderElection: c.LeaderElect, LeaderElectionID: "agent.meshlift.dev", LeaderElectionNamespace: c.Namespace,
		// The process ends when it loses or gives up leadership, so the lease can be handed on at once.
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &c.LeaseDuration,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		Client:                        client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}},
	}
	if c.WebhookPort != 0 {
		o.WebhookServer = ctrlwebhook.NewServer(ctrlwebhook.Options{Port: c.WebhookPort, TLSOpts: []func(*tls.Config){
			func(t *tls.Config) { (*keeper).ConfigureTLS(t) },
		}})
	}
	mgr, err := ctrl.NewManager(c.REST, o)
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	return mgr, nil
}

// certificateResync may be long: a change of the webhook configuration is an event.
const certificateResync = 10 * time.Minute

// serveCertificates has a certificate ready before the webhook server starts.
func serveCertificates(ctx context.Context, mgr manager.Manager, c Config) (*certs.Keeper, error) {
	keeper := certs.New(certs.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: c.Namespace, Secret: c.WebhookSecret,
		Service: c.WebhookService, Webhook: webhook.ConfigurationName, Clock: clock.RealClock{}, Log: c.Log.WithName("certs"),
		Resync: certificateResync,
	})
	if _, err := keeper.Ensure(ctx); err != nil {
		return nil, fmt.Errorf("prepare the webhook certificate: %w", err)
	}
	informer, err := mgr.GetCache().GetInformer(ctx, &admissionv1.ValidatingWebhookConfiguration{}, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watch the webhook configuration: %w", err)
	}
	if _, err := informer.AddEventHandler(toolscache.FilteringResourceEventHandler{
		FilterFunc: func(o any) bool {
			c, ok := o.(*admissionv1.ValidatingWebhookConfiguration)
			return ok && c.Name == webhook.ConfigurationName
		},
		Handler: toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { keeper.Look() }, UpdateFunc: func(any, any) { keeper.Look() },
		},
	}); err != nil {
		return nil, fmt.Errorf("watch the webhook configuration: %w", err)
	}
	return keeper, mgr.Add(keeper)
}

// wire makes the adapters and registers controllers and webhooks.
func wire(ctx context.Context, mgr manager.Manager, c Config) error {
	disco, err := discovery.NewDiscoveryClientForConfig(c.REST)
	if err != nil {
		return fmt.Errorf("make the discovery client: %w", err)
	}
	kube, err := kubernetes.NewForConfig(c.REST)
	if err != nil {
		return fmt.Errorf("make the client: %w", err)
	}
	mode, err := handoverMode(disco, c.Handover)
	if err != nil {
		return err
	}
	watch := newMeshWatch(mgr)
	observer := observe.NewShared(observe.New(mgr.GetCache(), c.IstioNamespace, observing(mgr, disco, mode)...), watch.version, clock.RealClock{})
	catalogs := func(ctx context.Context) (catalog.Catalog, error) { return effectiveCatalog(ctx, mgr.GetClient()) }
	router := &routing.Router{Live: mgr.GetAPIReader(), Cache: mgr.GetCache(), Writer: mgr.GetClient(), Namespace: c.IstioNamespace, Mode: mode}
	releases, err := helmReleases(c)
	if err != nil {
		return err
	}
	asker := connector{xds.New(kube, c.IstioNamespace)}
	life, err := controlPlanes(mgr, asker, c, releases)
	if err != nil {
		return err
	}
	if err := (&clusterupgrade.Reconciler{Options: clusterupgrade.Options{
		Client: mgr.GetClient(), Observer: observer, Connector: asker, Lifecycle: life, Router: router, Catalog: catalogs,
		Recorder: mgr.GetEventRecorder("meshlift"), Clock: c.Clock, InstallTimeout: c.InstallTimeout,
	}}).SetupWithManager(mgr, watch.every(upgradeInterval, clusterupgrade.Requests)); err != nil {
		return fmt.Errorf("register the ClusterUpgrade controller: %w", err)
	}
	if err := (&dataplanerollout.Reconciler{Options: dataplanerollout.Options{
		Client: mgr.GetClient(), Observer: observer, Mover: &restart.Mover{Live: mgr.GetAPIReader(), Writer: mgr.GetClient()}, Asker: asker, Meter: prom.Meter{Now: c.Clock.Now},
		Recorder: mgr.GetEventRecorder("meshlift"), Clock: c.Clock,
	}}).SetupWithManager(mgr, watch.every(rolloutInterval, dataplanerollout.Requests)); err != nil {
		return fmt.Errorf("register the DataPlaneRollout controller: %w", err)
	}
	if err := (&controlplanecontroller.Reconciler{Client: mgr.GetClient(), Observer: observer, Catalog: catalogs}).
		SetupWithManager(mgr, watch.every(controlPlaneInterval, controlPlaneRequests)); err != nil {
		return fmt.Errorf("register the ControlPlane controller: %w", err)
	}
	if err := (&sidecars.Reconciler{Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Observer: observer, Releases: releases}).
		SetupWithManager(mgr, watch.every(sidecarsInterval, controlPlaneRequests)); err != nil {
		return fmt.Errorf("register the controller of sidecars: %w", err)
	}
	if c.WebhookPort != 0 {
		if err := webhook.Register(mgr, webhook.Options{Reader: mgr.GetClient(), Inventory: observer.Inventory, Catalog: catalogs}); err != nil {
			return err
		}
	}
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		return controlplanecontroller.Ensure(ctx, mgr.GetClient(), c.IstioNamespace)
	}))
}

func observing(mgr manager.Manager, disco observe.Server, mode handover.Mode) []observe.Option {
	o := []observe.Option{observe.WithLive(mgr.GetAPIReader()), observe.WithDiscovery(disco), observe.WithMemory(clock.RealClock{})}
	if mode == handover.ObjectSelectors {
		o = append(o, observe.WithoutClaims())
	}
	return o
}

// handoverMode is the one that was asked for, else the best that this API server can do.
func handoverMode(disco discovery.ServerVersionInterface, asked handover.Mode) (handover.Mode, error) {
	if asked != "" {
		return asked, nil
	}
	v, err := disco.ServerVersion()
	if err != nil {
		return "", fmt.Errorf("read the version of the API server: %w", err)
	}
	minor, err := version.ParseMinor(v.GitVersion)
	if err != nil {
		return "", fmt.Errorf("read the version of the API server: %w", err)
	}
	return handover.ModeFor(minor.Major, minor.Minor), nil
}

func probes(mgr manager.Manager, keeper *certs.Keeper) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add the health check: %w", err)
	}
	ready := healthz.Checker(healthz.Ping)
	if keeper != nil {
		ready = mgr.GetWebhookServer().StartedChecker()
	}
	if err := mgr.AddReadyzCheck("ready", ready); err != nil {
		return fmt.Errorf("add the readiness check: %w", err)
	}
	return nil
}

// effectiveCatalog is the built-in catalog with the cluster's own entries.
func effectiveCatalog(ctx context.Context, reader client.Reader) (catalog.Catalog, error) {
	o := &v1alpha1.Catalog{}
	err := reader.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, o)
	if apierrors.IsNotFound(err) {
		return catalog.Default(), nil
	}
	if err != nil {
		return catalog.Catalog{}, fmt.Errorf("read the Catalog object: %w", err)
	}
	return catalog.Default().Merge(&o.Spec), nil
}

// istioNamespace is what the ControlPlane object says, else the given default. It is read once: the webhook refuses a
// change while an upgrade runs, and a change otherwise needs a restart of the agent.
func istioNamespace(ctx context.Context, cfg *rest.Config, scheme *runtime.Scheme, fallback string) (string, error) {
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return "", fmt.Errorf("make the client: %w", err)
	}
	cp := &v1alpha1.ControlPlane{}
	err = c.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, cp)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read the ControlPlane: %w", err)
	}
	if cp.Spec.IstioNamespace != "" {
		return cp.Spec.IstioNamespace, nil
	}
	return fallback, nil
}
