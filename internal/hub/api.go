package hub

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hubv1alpha1 "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/httpapi"
	"meshlift.dev/meshlift/internal/login"
	"meshlift.dev/meshlift/internal/member"
	"meshlift.dev/meshlift/web"
)

// APIConfig is how the hub serves its API.
type APIConfig struct {
	// Address "host:port"; "0" serves none.
	Address string
	// CertFile and KeyFile of TLS; without them the certificate of the admission webhooks is used.
	CertFile, KeyFile string
	// Insecure serves plain HTTP, for a proxy that ends TLS or for loopback.
	Insecure bool
	// SessionSecret is the name of the Secret with the keys of sessions, which is made when it is missing.
	SessionSecret string
	// Lifetime of a session.
	Lifetime time.Duration
	// OIDC provider; an empty issuer is none.
	OIDC login.OIDCConfig
	// OIDCSecretFile holds the secret of the client.
	OIDCSecretFile string
}

func (c *APIConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.Address, "api-bind-address", ":8443", "address of the API; 0 serves none")
	f.StringVar(&c.CertFile, "api-tls-cert-file", "", "certificate of the API (default: that of the admission webhooks)")
	f.StringVar(&c.KeyFile, "api-tls-key-file", "", "key of the certificate of the API")
	f.BoolVar(&c.Insecure, "api-insecure", false, "serve the API over plain HTTP: for a proxy that ends TLS, or for loopback")
	f.StringVar(&c.SessionSecret, "api-session-secret", "meshlift-hub-session", "Secret with the keys of sessions; made when it is missing")
	f.DurationVar(&c.Lifetime, "api-session-lifetime", 8*time.Hour, "how long a session lasts")
	f.StringVar(&c.OIDC.IssuerURL, "oidc-issuer-url", "", "OpenID Connect provider; empty for none")
	f.StringVar(&c.OIDC.ClientID, "oidc-client-id", "", "client at the provider")
	f.StringVar(&c.OIDCSecretFile, "oidc-client-secret-file", "", "file with the secret of the client")
	f.StringVar(&c.OIDC.RedirectURL, "oidc-redirect-url", "", "address of "+httpapi.Base+"/oidc/callback as browsers see it")
	f.StringVar(&c.OIDC.UsernameClaim, "oidc-username-claim", "sub", "claim with the name, as for the API server")
	f.StringVar(&c.OIDC.UsernamePrefix, "oidc-username-prefix", "", "prefix of names, as for the API server")
	f.StringVar(&c.OIDC.GroupsClaim, "oidc-groups-claim", "groups", "claim with the groups, as for the API server")
	f.StringVar(&c.OIDC.GroupsPrefix, "oidc-groups-prefix", "", "prefix of groups, as for the API server")
}

// serveAPI registers the API in every replica, and the pages that use it.
func serveAPI(ctx context.Context, p part) error {
	c := p.Config.API
	if c.Address == "" || c.Address == "0" {
		return nil
	}
	tlsConfig, err := apiTLS(p)
	if err != nil {
		return err
	}
	api, err := newAPI(ctx, p)
	if err != nil {
		return err
	}
	for _, obj := range []client.Object{&hubv1alpha1.Mesh{}, &hubv1alpha1.MemberCluster{}, &hubv1alpha1.MeshUpgrade{}} {
		informer, err := p.Manager.GetCache().GetInformer(ctx, obj)
		if err != nil {
			return fmt.Errorf("watch for the API: %w", err)
		}
		if _, err := informer.AddEventHandler(api.Handler()); err != nil {
			return fmt.Errorf("watch for the API: %w", err)
		}
	}
	cached := p.Manager.GetClient()
	p.Links.Listen(func(cluster string) {
		go func() { // a listener must return at once
			m := &hubv1alpha1.MemberCluster{}
			if cached.Get(ctx, client.ObjectKey{Name: cluster}, m) == nil {
				api.MemberChanged(cluster, m.Spec.Mesh)
			}
		}()
	})
	mux := http.NewServeMux()
	mux.Handle(httpapi.Base+"/", api)
	mux.Handle("/", web.Handler())
	return p.Manager.Add(&server{config: c, tls: tlsConfig, handler: mux})
}

func apiTLS(p part) (*tls.Config, error) {
	c, t := p.Config.API, &tls.Config{MinVersion: tls.VersionTLS12}
	switch {
	case c.Insecure:
		return nil, nil
	case c.CertFile != "" && c.KeyFile != "":
		// Read for each connection, so that a renewed certificate is used without a restart.
		t.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
			return &pair, err
		}
	case p.Certificates != nil:
		p.Certificates.ConfigureTLS(t)
	default:
		return nil, errors.New("the API has no certificate: give --api-tls-cert-file and --api-tls-key-file, serve the webhooks, or say --api-insecure")
	}
	return t, nil
}

func newAPI(ctx context.Context, p part) (*httpapi.Server, error) {
	mgr, c := p.Manager, p.Config.API
	// Reviews are answered by the API server and never cached by the client.
	keys, err := sessionKeys(ctx, mgr.GetAPIReader(), mgr.GetClient(), client.ObjectKey{Namespace: p.Config.Namespace, Name: c.SessionSecret})
	if err != nil {
		return nil, err
	}
	o := login.Options{Tokens: login.NewTokens(mgr.GetClient(), p.Config.Clock), Keys: keys, Lifetime: c.Lifetime, Insecure: c.Insecure, Clock: p.Config.Clock}
	if c.OIDC.IssuerURL != "" {
		if c.OIDCSecretFile != "" {
			secret, err := os.ReadFile(c.OIDCSecretFile)
			if err != nil {
				return nil, fmt.Errorf("read the secret of the OIDC client: %w", err)
			}
			c.OIDC.ClientSecret = string(secret)
		}
		if o.OIDC, err = login.NewOIDC(ctx, c.OIDC); err != nil {
			return nil, err
		}
	}
	l, err := login.New(o)
	if err != nil {
		return nil, err
	}
	return httpapi.New(httpapi.Options{
		Client: mgr.GetClient(), Members: p.Links, Inventory: inventories(p), Login: l,
		Away:     func(err error) bool { return errors.Is(err, member.ErrNotConnected) },
		Access:   login.NewAccess(mgr.GetClient(), hubv1alpha1.GroupVersion.Group, p.Config.Clock),
		Recorder: mgr.GetEventRecorder("meshlift-hub"), Clock: p.Config.Clock, Log: p.Config.Log.WithName("api"), Version: p.Config.Version,
	}), nil
}

// sessionKeys reads the keys of sessions, which all replicas share, or makes them.
func sessionKeys(ctx context.Context, reader client.Reader, writer client.Client, key client.ObjectKey) ([]byte, error) {
	const entry = "keys"
	for {
		s := &corev1.Secret{}
		err := reader.Get(ctx, key, s)
		switch {
		case apierrors.IsNotFound(err):
			s = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: map[string][]byte{entry: newKeys()}}
			err = writer.Create(ctx, s)
		case err != nil:
			return nil, fmt.Errorf("read the keys of sessions: %w", err)
		case len(s.Data[entry]) == login.Keys:
			return s.Data[entry], nil
		default: // empty, as the chart makes it
			before := s.DeepCopy()
			s.Data = map[string][]byte{entry: newKeys()}
			err = writer.Patch(ctx, s, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		}
		// Another replica may have been faster: then its keys are read.
		if err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("make the keys of sessions: %w", err)
		}
	}
}

func newKeys() []byte {
	keys := make([]byte, login.Keys)
	_, _ = rand.Read(keys) // never fails
	return keys
}

// server serves the API in every replica until the context ends.
type server struct {
	config  APIConfig
	tls     *tls.Config
	handler http.Handler
}

// NeedLeaderElection is false: every replica answers.
func (*server) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *server) Start(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Address)
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	if s.tls != nil {
		l = tls.NewListener(l, s.tls)
	}
	// No limit for writing: streams of events live long, and set one for each event.
	h := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	// Streams end with the process.
	h.BaseContext = func(net.Listener) context.Context { return ctx }
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	select {
	case err = <-done:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return h.Shutdown(end)
}
