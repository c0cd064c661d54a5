// Package xds asks the istiods of a revision who is connected to them, and whether they serve.
//
// Every replica knows only its own connections, so every replica is asked, at its pod IP: GET /debug/syncz on the
// monitoring port, with a token of istio-reader-service-account, because istiod shows the connections of all namespaces only
// to identities of the Istio namespace (pilot/pkg/xds/debug.go of Istio).
//
// [Questions] asks istiods what they send to a proxy, for "meshlift diff". That is a stream in the place of the proxy, under a name
// that no pod can have; [Client.Connections] leaves these out, so Meshlift never counts itself as a proxy.
package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"meshlift.dev/meshlift/internal/mesh"
)

// ReaderServiceAccount of Istio's base chart; Meshlift asks for short-lived tokens of it, with Istio's audience only, so
// they are good for nothing else.
const ReaderServiceAccount = "istio-reader-service-account"

const (
	defaultAudience = "istio-ca"
	replicaTimeout  = 10 * time.Second
	maxConcurrent   = 8

	monitoringPort = "15014"
	securePort     = "15012"
	plainPort      = "15010"
)

// Report is what all replicas of one revision said.
type Report struct {
	// Replicas that answered, sorted by pod name; empty when none runs.
	Replicas []Replica
	// Proxies that are connected, sorted by id and replica. A proxy with two connections is in it twice.
	Proxies []Proxy
}

// Replica is one istiod pod.
type Replica struct {
	// Pod name.
	Pod string
	// Version of istiod from its image tag; "" when the tag does not tell.
	Version string
	// Connections is the number of proxies that are connected to it.
	Connections int
}

// Proxy is one xDS connection.
type Proxy struct {
	// ID as the proxy gave it, "name.namespace".
	ID string
	// Namespace and Pod from the ID; Namespace is "" when the ID has another form.
	Namespace, Pod string
	// Replica is the istiod pod that serves it.
	Replica string
	// Version of the proxy as it gave it, for example "1.30.0".
	Version string
	// Cluster ID of the proxy; istiod also serves proxies of other clusters.
	Cluster string
	// Synced is true when the proxy has acknowledged all configuration that was sent.
	Synced bool
	// Rejected is the proxy's own error about what it was sent last (NACK), with the kind of the resources; "" when it rejected
	// nothing. A version of Istio that does not tell (1.31 does) only shows that it is not in sync.
	Rejected string
}

// Client asks istiods. It is safe for concurrent use.
type Client struct {
	kube      kubernetes.Interface
	namespace string
	http      *http.Client
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	reach     func(ctx context.Context, pod *corev1.Pod, port string) (net.Conn, error) // for questions
	timeout   time.Duration
	tokens    *tokens
}

// Option changes a [Client].
type Option func(*Client)

// WithDial replaces how replicas are reached, for a process that cannot route to pod IPs. It is used for HTTP as well.
func WithDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(c *Client) { c.dial = dial }
}

// WithAudience replaces the audience of the token, for meshes whose istiods run with another TOKEN_AUDIENCES than
// "istio-ca".
func WithAudience(audience string) Option {
	return func(c *Client) { c.tokens.audience = audience }
}

// New returns a client for the istiods in the Istio namespace. The clientset needs to get Deployments and list Pods there,
// and to create serviceaccounts/token of [ReaderServiceAccount].
func New(kube kubernetes.Interface, istioNamespace string, options ...Option) *Client {
	c := &Client{
		kube:      kube,
		namespace: istioNamespace,
		dial:      (&net.Dialer{Timeout: replicaTimeout}).DialContext,
		timeout:   replicaTimeout,
		tokens:    &tokens{kube: kube, namespace: istioNamespace, account: ReaderServiceAccount, audience: defaultAudience, now: time.Now, seconds: tokenSeconds},
	}
	c.reach = func(ctx context.Context, pod *corev1.Pod, port string) (net.Conn, error) {
		return c.dial(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, port))
	}
	for _, option := range options {
		option(c)
	}
	c.http = &http.Client{
		// No proxy from the environment: pod IPs are reached directly, and the token is for istiod only.
		Transport:     &http.Transport{DialContext: c.dial, DisableKeepAlives: true, ResponseHeaderTimeout: replicaTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Connections asks every running replica of the revision. A revision without replicas has no connections. An error names
// every replica that did not answer; then the report holds what the others said and must not be taken for all: unknown is
// never "no".
func (c *Client) Connections(ctx context.Context, rev mesh.Revision) (Report, error) {
	pods, err := c.replicas(ctx, rev)
	if err != nil {
		return Report{}, err
	}
	found := make([][]Proxy, len(pods))
	answered := make([]bool, len(pods))
	err = c.each(ctx, pods, func(ctx context.Context, n int) error {
		proxies, err := c.syncz(ctx, &pods[n])
		if err != nil {
			return fmt.Errorf("istiod %s did not say who is connected to it: %w", pods[n].Name, err)
		}
		found[n], answered[n] = proxies, true
		return nil
	})
	var r Report
	for n := range pods {
		if answered[n] {
			r.Replicas = append(r.Replicas, Replica{Pod: pods[n].Name, Version: version(&pods[n]), Connections: len(found[n])})
			r.Proxies = append(r.Proxies, found[n]...)
		}
	}
	slices.SortStableFunc(r.Proxies, func(a, b Proxy) int {
		if n := strings.Compare(a.ID, b.ID); n != 0 {
			return n
		}
		return strings.Compare(a.Replica, b.Replica)
	})
	return r, err
}

// Serves returns nil when at least one replica of the revision is ready and every ready one accepts xDS connections: TLS on
// port 15012, or plain text on 15010 where TLS is switched off.
func (c *Client) Serves(ctx context.Context, rev mesh.Revision) error {
	pods, err := c.replicas(ctx, rev)
	if err != nil {
		return err
	}
	pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return !ready(&p) })
	if len(pods) == 0 {
		return fmt.Errorf("no replica of istiod %s is ready: look at the pods of Deployment %s/%s", rev.Name, c.namespace, rev.Deployment)
	}
	return c.each(ctx, pods, func(ctx context.Context, n int) error {
		if err := c.serves(ctx, pods[n].Status.PodIP); err != nil {
			return fmt.Errorf("istiod %s does not serve xDS: %w", pods[n].Name, err)
		}
		return nil
	})
}

// each runs f for every pod, a few at a time, each within the timeout, and joins the errors in the order of the pods.
func (c *Client) each(ctx context.Context, pods []corev1.Pod, f func(ctx context.Context, n int) error) error {
	var (
		errs = make([]error, len(pods))
		room = make(chan struct{}, maxConcurrent)
		wg   sync.WaitGroup
	)
	for n := range pods {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			ctx, cancel := context.WithTimeout(ctx, c.timeout)
			defer cancel()
			errs[n] = f(ctx, n)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// replicas returns the pods of the revision that may hold connections, sorted by name: all that run, ready or not,
// terminating or not. A pod that has not started yet holds none.
func (c *Client) replicas(ctx context.Context, rev mesh.Revision) ([]corev1.Pod, error) {
	selector, err := c.selector(ctx, rev)
	if err != nil {
		return nil, err
	}
	list, err := c.kube.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of istiod %s: %w", rev.Name, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		switch p.Status.Phase {
		case corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending:
			return true
		}
		return false
	})
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, nil
}

// selector is that of the Deployment; when that is gone its pods may live on for a while, so the labels that the charts of
// all versions use take its place.
func (c *Client) selector(ctx context.Context, rev mesh.Revision) (string, error) {
	var d *appsv1.Deployment
	d, err := c.kube.AppsV1().Deployments(c.namespace).Get(ctx, rev.Deployment, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), rev.Deployment == "":
		return labels.SelectorFromSet(labels.Set{"app": "istiod", mesh.LabelRev: rev.Name}).String(), nil
	case err != nil:
		return "", fmt.Errorf("get Deployment %q of istiod %s: %w", rev.Deployment, rev.Name, err)
	}
	s, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return "", fmt.Errorf("read the selector of Deployment %q: %w", rev.Deployment, err)
	}
	return s.String(), nil
}

func ready(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func version(p *corev1.Pod) string {
	for n := range p.Spec.Containers {
		if v := mesh.VersionOfImage(p.Spec.Containers[n].Image); v != "" && (p.Spec.Containers[n].Name == "discovery" || n == 0) {
			return v
		}
	}
	return ""
}
