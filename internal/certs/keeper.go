package certs

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyadmissionv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of the Secret.
const (
	keyCert     = corev1.TLSCertKey
	keyKey      = corev1.TLSPrivateKeyKey
	keyTrusted  = "ca.crt"
	keyNextCert = "next.crt"
	keyNextKey  = "next.key"
)

// fieldManager owns the caBundle fields and nothing else of the webhook configuration.
const fieldManager = "meshlift-certs"

// resync is the default of [Options.Resync].
const resync = time.Minute

// retryAfter is the pause after a failed look.
const retryAfter = 5 * time.Second

// Options of a [Keeper]; all are required but Log.
type Options struct {
	// Client writes the Secret and the webhook configuration.
	Client client.Client
	// Reader reads them past any cache, so that the agent needs no watch on Secrets (manager.GetAPIReader).
	Reader client.Reader
	// Namespace of the agent.
	Namespace string
	// Secret that holds the certificate, in Namespace.
	Secret string
	// Service through which the API server calls the webhooks, in Namespace.
	Service string
	// Webhook is the name of the ValidatingWebhookConfiguration that must trust the certificate.
	Webhook string
	// Resync is the longest time between two looks: they repair what somebody deleted and pick up what another replica wrote.
	// It is a minute by default, and may be longer where [Keeper.Look] is called when the webhook configuration changes.
	Resync time.Duration
	// Clock, the real one in production.
	Clock clock.WithTicker
	// Log of what was renewed.
	Log logr.Logger
}

// Keeper keeps the certificate of one replica. It is a manager.Runnable that runs on every replica.
type Keeper struct {
	o       Options
	dnsName string
	current atomic.Pointer[tls.Certificate]
	look    chan struct{}
}

// New returns a Keeper that has no certificate yet: call [Keeper.Ensure] once before the webhook server starts, and add
// the Keeper to the manager.
func New(o Options) *Keeper {
	// The name by which the API server calls a Service:
	// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#service-reference
	o.Resync = cmp.Or(o.Resync, resync)
	return &Keeper{o: o, dnsName: o.Service + "." + o.Namespace + ".svc", look: make(chan struct{}, 1)}
}

// Look has the Keeper look soon. It does not wait.
func (k *Keeper) Look() {
	select {
	case k.look <- struct{}{}:
	default: // it is on its way already
	}
}

// ErrNoCertificate is returned while no certificate has been read.
var ErrNoCertificate = errors.New("the webhook certificate is not loaded yet")

// GetCertificate serves the certificate to a TLS client; it fails with [ErrNoCertificate] until the first success of Ensure.
func (k *Keeper) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.current.Load(); c != nil {
		return c, nil
	}
	return nil, ErrNoCertificate
}

// ConfigureTLS is a webhook.Options.TLSOpts entry: it makes the server ask the Keeper at each handshake.
func (k *Keeper) ConfigureTLS(c *tls.Config) {
	c.GetCertificate = k.GetCertificate
	c.MinVersion = tls.VersionTLS12
}

// Check is a healthz.Checker for readiness: it fails until a certificate can be served.
func (k *Keeper) Check(*http.Request) error {
	_, err := k.GetCertificate(nil)
	return err
}

// NeedLeaderElection is false: every replica serves webhooks.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start looks after the certificate until the context ends. Failures are logged and tried again.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		wait, err := k.Ensure(ctx)
		if err != nil && ctx.Err() == nil {
			k.o.Log.Error(err, "the webhook certificate could not be kept; trying again", "in", retryAfter)
			wait = retryAfter
		}
		timer := k.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-k.look:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// Ensure makes or renews the certificate if that is due, has the API server trust it, and serves it, in this order. It
// returns how long to wait before the next look, and is safe to call from several replicas at once.
func (k *Keeper) Ensure(ctx context.Context) (time.Duration, error) {
	b, next, err := k.store(ctx)
	if err != nil {
		return 0, err
	}
	if err := k.trust(ctx, b.Trusted); err != nil {
		return 0, err
	}
	pair, err := tls.X509KeyPair(b.Cert, b.Key)
	if err != nil {
		return 0, fmt.Errorf("read certificate of Secret %q: %w", k.o.Secret, err)
	}
	k.current.Store(&pair)
	return max(time.Second, min(k.o.Resync, next.Sub(k.o.Clock.Now()))), nil
}

// store brings the Secret up to date and returns what it holds.
func (k *Keeper) store(ctx context.Context) (Bundle, time.Time, error) {
	const attempts = 5
	for range attempts {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.o.Namespace, Name: k.o.Secret}}
		err := k.o.Reader.Get(ctx, client.ObjectKeyFromObject(secret), secret)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return Bundle{}, time.Time{}, fmt.Errorf("read Secret %q: %w", k.o.Secret, err)
		}
		have := fromSecret(secret)
		want, next, err := Renew(have, k.dnsName, k.o.Clock.Now())
		if err != nil {
			return Bundle{}, time.Time{}, fmt.Errorf("renew certificate for %q: %w", k.dnsName, err)
		}
		if want.Equal(have) {
			return have, next, nil
		}
		want.into(secret)
		if missing {
			err = k.o.Client.Create(ctx, secret)
		} else {
			err = k.o.Client.Update(ctx, secret)
		}
		switch {
		case err == nil:
			k.o.Log.Info("webhook certificate stored", "secret", k.o.Secret, "announced", want.NextCert != nil, "next", next)
			return want, next, nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), !missing && apierrors.IsNotFound(err):
			continue // another replica was faster: take what it wrote
		default:
			return Bundle{}, time.Time{}, fmt.Errorf("write Secret %q: %w", k.o.Secret, err)
		}
	}
	return Bundle{}, time.Time{}, fmt.Errorf("write Secret %q: it changed %d times while it was being renewed", k.o.Secret, attempts)
}

// trust applies the authorities to every entry of the webhook configuration that does not name exactly them.
func (k *Keeper) trust(ctx context.Context, trusted []byte) error {
	have := &admissionv1.ValidatingWebhookConfiguration{}
	if err := k.o.Reader.Get(ctx, client.ObjectKey{Name: k.o.Webhook}, have); err != nil {
		return fmt.Errorf("read ValidatingWebhookConfiguration %q, which the chart meshlift-agent installs: %w", k.o.Webhook, err)
	}
	want := applyadmissionv1.ValidatingWebhookConfiguration(k.o.Webhook)
	same := true
	for _, w := range have.Webhooks {
		same = same && string(w.ClientConfig.CABundle) == string(trusted)
		want.WithWebhooks(applyadmissionv1.ValidatingWebhook().WithName(w.Name).
			WithClientConfig(applyadmissionv1.WebhookClientConfig().WithCABundle(trusted...)))
	}
	if same {
		return nil
	}
	if err := k.o.Client.Apply(ctx, want, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply authorities to ValidatingWebhookConfiguration %q: %w", k.o.Webhook, err)
	}
	k.o.Log.Info("webhook authorities applied", "webhook", k.o.Webhook)
	return nil
}

func fromSecret(s *corev1.Secret) Bundle {
	return Bundle{
		Cert: s.Data[keyCert], Key: s.Data[keyKey], NextCert: s.Data[keyNextCert], NextKey: s.Data[keyNextKey], Trusted: s.Data[keyTrusted],
	}
}

func (b Bundle) into(s *corev1.Secret) {
	s.Data = map[string][]byte{keyCert: b.Cert, keyKey: b.Key, keyTrusted: b.Trusted}
	if len(b.NextCert) > 0 {
		s.Data[keyNextCert], s.Data[keyNextKey] = b.NextCert, b.NextKey
	}
}
