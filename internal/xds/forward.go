package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// WithForward reaches replicas as "kubectl port-forward" does, for questions on xDS from outside of the cluster. The user needs to
// create pods/portforward in the Istio namespace. Nothing listens on the own machine.
func WithForward(config *rest.Config) Option {
	return func(c *Client) {
		c.reach = func(ctx context.Context, pod *corev1.Pod, port string) (net.Conn, error) {
			return forward(ctx, config, c.kube, pod, port)
		}
	}
}

func forward(ctx context.Context, config *rest.Config, kube kubernetes.Interface, pod *corev1.Pod, port string) (net.Conn, error) {
	url := kube.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, fmt.Errorf("forward to pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	dialer := portforward.NewFallbackDialerForStreaming(tunnel, spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	type dialled struct {
		conn httpstream.Connection
		err  error
	}
	done := make(chan dialled, 1)
	go func() { // dialers of port forwarding know no context
		conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		done <- dialled{conn, err}
	}()
	select {
	case d := <-done:
		if d.err != nil {
			return nil, fmt.Errorf("forward to pod %s/%s: %w", pod.Namespace, pod.Name, d.err)
		}
		return open(d.conn, pod, port)
	case <-ctx.Done():
		go func() {
			if d := <-done; d.err == nil {
				_ = d.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// open makes the two streams of one forwarded connection.
func open(conn httpstream.Connection, pod *corev1.Pod, port string) (net.Conn, error) {
	f := &forwarded{conn: conn, to: pod.Namespace + "/" + pod.Name + ":" + port, refused: make(chan struct{})}
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, port)
	headers.Set(corev1.PortForwardRequestIDHeader, "0")
	problems, err := conn.CreateStream(headers)
	if err == nil {
		_ = problems.Close() // nothing is written to it
		headers.Set(corev1.StreamType, corev1.StreamTypeData)
		f.data, err = conn.CreateStream(headers)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("forward to %s: %w", f.to, err), conn.Close())
	}
	go func() {
		defer close(f.refused)
		if text, err := io.ReadAll(problems); err == nil && len(text) > 0 {
			f.problem = strings.TrimSpace(string(text))
			_ = f.data.Reset()
		}
	}()
	return f, nil
}

// forwarded is a connection through the API server.
type forwarded struct {
	conn    httpstream.Connection
	data    httpstream.Stream
	to      string
	refused chan struct{} // closed when the other side says no more about problems
	problem string        // what it said; read it after that
	once    sync.Once
}

func (f *forwarded) Read(b []byte) (int, error) {
	n, err := f.data.Read(b)
	if n > 0 || err == nil {
		return n, err
	}
	select {
	case <-f.refused:
		if f.problem != "" {
			return n, errors.New(f.problem)
		}
	default:
	}
	return n, err
}

func (f *forwarded) Write(b []byte) (int, error) { return f.data.Write(b) }

// Close ends the connection; a second time does nothing.
func (f *forwarded) Close() error {
	var err error
	f.once.Do(func() {
		_ = f.data.Reset()
		err = f.conn.Close()
	})
	return err
}

func (f *forwarded) LocalAddr() net.Addr  { return address("here") }
func (f *forwarded) RemoteAddr() net.Addr { return address(f.to) }

// Deadlines are not known to forwarded streams: whoever uses the connection closes it instead.
func (f *forwarded) SetDeadline(time.Time) error      { return nil }
func (f *forwarded) SetReadDeadline(time.Time) error  { return nil }
func (f *forwarded) SetWriteDeadline(time.Time) error { return nil }

type address string

// Network is a name of our own.
func (address) Network() string  { return "port-forward" }
func (a address) String() string { return string(a) }
