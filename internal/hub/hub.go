// Package hub wires the part of Meshlift that knows several clusters: one process that keeps the objects of the group
// hub.meshlift.dev. Several replicas may run; one leads, all serve admission and lists.
package hub

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	hubv1alpha1 "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/certs"
	"meshlift.dev/meshlift/internal/member"
)

// WebhookConfiguration is the name of the ValidatingWebhookConfiguration that the chart meshlift installs.
const WebhookConfiguration = "hub.meshlift.dev"

// Config of the hub. The zero value is not usable; see [NewCommand] for the defaults.
type Config struct {
	REST *rest.Config
	// Version of this build.
	Version string
	// Namespace of the hub itself, where the Secrets with kubeconfigs are.
	Namespace   string
	LeaderElect bool
	// LeaseDuration is how long a leader that died without a word is waited for.
	LeaseDuration time.Duration
	// MetricsAddress, HealthAddress: "host:port", "0" to serve nothing.
	MetricsAddress, HealthAddress string
	// WebhookPort of the admission webhooks; 0 to serve none.
	WebhookPort int
	// WebhookService is the name of the Service in front of the webhooks, WebhookSecret holds their certificate.
	WebhookService, WebhookSecret string
	// API of the hub.
	API APIConfig
	// Clock of the decisions; nil for the real one.
	Clock clock.Clock
	Log   logr.Logger
}

// Run runs the hub until the context ends.
func Run(ctx context.Context, c Config) error {
	ctrl.SetLogger(c.Log)
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	scheme, err := Scheme()
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
	if err := wire(ctx, part{Manager: mgr, Config: c, Links: member.NewLinks(member.Options{Scheme: scheme}), Certificates: keeper}); err != nil {
		return err
	}
	if err := probes(mgr, keeper); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the hub: %w", err)
	}
	return nil
}

// Scheme knows every kind that the hub uses, its own and those of members.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("register the kinds of Kubernetes: %w", err)
	}
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, hubv1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("register the kinds of Meshlift: %w", err)
		}
	}
	return s, nil
}

func newManager(c Config, scheme *runtime.Scheme, keeper **certs.Keeper) (manager.Manager, error) {
	renew, retry := c.LeaseDuration*2/3, c.LeaseDuration/8 // the proportions of Kubernetes' own components
	o := ctrl.Options{
		Scheme: scheme, Logger: c.Log, Cache: cacheOptions(c.Namespace),
		Metrics: metricsserver.Options{BindAddress: c.MetricsAddress}, HealthProbeBindAddress: c.HealthAddress,
		LeaderElection: c.LeaderElect, LeaderElectionID: "hub.meshlift.dev", LeaderElectionNamespace: c.Namespace,
		// The process ends when it loses or gives up leadership, so the lease can be handed on at once.
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &c.LeaseDuration,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
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

// cacheOptions watches Secrets in the namespace of the hub only, and there not the releases of Helm, which are large.
func cacheOptions(namespace string) cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}: {Namespaces: map[string]cache.Config{namespace: {
				FieldSelector: fields.OneTermNotEqualSelector("type", "helm.sh/release.v1"),
			}}},
		},
	}
}

// serveCertificates has a certificate ready before the webhook server starts.
func serveCertificates(ctx context.Context, mgr manager.Manager, c Config) (*certs.Keeper, error) {
	keeper := certs.New(certs.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: c.Namespace, Secret: c.WebhookSecret,
		Service: c.WebhookService, Webhook: WebhookConfiguration, Clock: clock.RealClock{}, Log: c.Log.WithName("certs"),
	})
	if _, err := keeper.Ensure(ctx); err != nil {
		return nil, fmt.Errorf("prepare the webhook certificate: %w", err)
	}
	return keeper, mgr.Add(keeper)
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
