package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/client-go/util/flowcontrol"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// dialTimeout is how long a TCP connection may take to come up.
const dialTimeout = 5 * time.Second

// wire is how one cluster is reached with one set of credentials: all clients of the cluster share its connections and its limit.
type wire struct {
	// shared is for everybody. Its transport fails at once while the cluster does not answer, and ends every request.
	shared *rest.Config
	// probe is for the probe: never limited, never refused.
	probe  *rest.Config
	dialer *connrotation.Dialer
}

// newWire makes the transport. gate returns why requests must fail at once, or nil; suspect is called when a request was not answered.
func newWire(config *rest.Config, requestsPerSecond int32, limit time.Duration, gate func() error, suspect func()) (*wire, error) {
	config = rest.CopyConfig(config)
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext)
	config.Dial = dialer.DialContext
	config.UserAgent = "meshlift-hub"
	config.Timeout = 0
	if config.Proxy == nil {
		// With a function, client-go makes a transport of its own and forgets it with the link.
		config.Proxy = http.ProxyFromEnvironment
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig cannot be used: %w", err)
	}
	base := func(t http.RoundTripper) *rest.Config {
		return &rest.Config{Host: config.Host, APIPath: config.APIPath, Transport: t, WarningHandler: rest.NoWarnings{}, UserAgent: config.UserAgent}
	}
	w := &wire{dialer: dialer, probe: base(transport), shared: base(&guarded{next: transport, limit: limit, gate: gate, suspect: suspect})}
	w.probe.QPS = -1
	w.shared.RateLimiter = flowcontrol.NewTokenBucketRateLimiter(float32(requestsPerSecond), 2*int(requestsPerSecond))
	return w, nil
}

// newClient needs discovery only for kinds that are not Meshlift's.
func newClient(config *rest.Config, scheme *runtime.Scheme) (client.Client, error) {
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	others, err := apiutil.NewDynamicRESTMapper(config, h)
	if err != nil {
		return nil, err
	}
	known := meta.FirstHitRESTMapper{MultiRESTMapper: meta.MultiRESTMapper{mapper(), others}}
	return client.New(config, client.Options{HTTPClient: h, Scheme: scheme, Mapper: known})
}

// reset closes every connection, so that the next request makes a new one.
func (w *wire) reset() { w.dialer.CloseAll() }

// guarded ends requests that are not answered, and fails them at once while it is known that nobody answers.
type guarded struct {
	next    http.RoundTripper
	limit   time.Duration
	gate    func() error
	suspect func()
}

// WrappedRoundTripper lets client-go find the transport below.
func (g *guarded) WrappedRoundTripper() http.RoundTripper { return g.next }

// RoundTrip implements http.RoundTripper. A watch has to begin within the limit, everything else has to be read to its end.
func (g *guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.gate(); err != nil {
		return nil, err
	}
	parent := r.Context()
	ctx, cancel := context.WithCancelCause(parent)
	timer := time.AfterFunc(g.limit, func() { cancel(errNoAnswer) })
	response, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		timer.Stop()
		if errors.Is(context.Cause(ctx), errNoAnswer) {
			err = fmt.Errorf("no answer within %s: %w", g.limit, context.DeadlineExceeded)
		}
		cancel(nil)
		if parent.Err() == nil {
			g.suspect()
		}
		return nil, err
	}
	query := r.URL.Query()
	if query.Get("watch") == "true" || query.Get("watch") == "1" || query.Get("follow") == "true" {
		timer.Stop()
	}
	response.Body = &body{ReadCloser: response.Body, end: func() { timer.Stop(); cancel(nil) }}
	return response, nil
}

var errNoAnswer = errors.New("no answer in time")

// body ends the deadline of its request when it is closed.
type body struct {
	io.ReadCloser
	end func()
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}
