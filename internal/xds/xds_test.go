package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"meshlift.dev/meshlift/internal/mesh"
)

var revision = mesh.Revision{Name: "1-30", Deployment: "istiod-1-30"}

// replicaPod is an istiod pod that runs; modifiers change what a test is about.
func replicaPod(name, ip string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "istio-system", Labels: map[string]string{"app": "istiod", mesh.LabelRev: "1-30"}}}
	p.Spec.Containers = []corev1.Container{{Name: "discovery", Image: "docker.io/istio/pilot:1.30.0"}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	for _, c := range change {
		c(p)
	}
	return p
}

func phase(p corev1.PodPhase) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.Phase = p }
}

func notReady(p *corev1.Pod) { p.Status.Conditions = nil }

func istiodDeployment() *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "istiod-1-30", Namespace: "istio-system"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "istiod", mesh.LabelRev: "1-30"}}},
	}
}

// cluster is a fake API server that gives tokens t1, t2, …, and istiods that are reached by their pod IPs.
type cluster struct {
	kube   *fake.Clientset
	issued atomic.Int32
	refuse error // of the token request

	mu      sync.Mutex
	servers map[string]string // "ip:port" to the address that listens
}

func newCluster(objects ...runtime.Object) *cluster {
	c := &cluster{kube: fake.NewClientset(objects...), servers: map[string]string{}}
	c.kube.PrependReactor("create", "serviceaccounts/token", func(k8stesting.Action) (bool, runtime.Object, error) {
		if c.refuse != nil {
			return true, nil, c.refuse
		}
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: fmt.Sprintf("t%d", c.issued.Add(1)), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
		}}, nil
	})
	return c
}

func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	to, ok := c.servers[address]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

// serve answers /debug/syncz of the replica; accepted are the tokens that it takes, none means any request.
func (c *cluster) serve(t *testing.T, ip, body string, accepted ...string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ok := len(accepted) == 0
		for _, token := range accepted {
			ok = ok || r.Header.Get("Authorization") == "Bearer "+token
		}
		switch {
		case r.URL.Path != "/debug/syncz":
			w.WriteHeader(http.StatusNotFound)
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, body)
		}
	}))
	t.Cleanup(s.Close)
	c.listen(ip+":15014", s.Listener.Addr())
}

func (c *cluster) listen(address string, at net.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.servers[address] = at.String()
}

func (c *cluster) client() *Client { return New(c.kube, "istio-system", WithDial(c.dial)) }

func proxies(names ...string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf(`{"cluster_id":"Kubernetes","proxy":%q,"istio_version":"1.30.0","cluster_sent":"a","cluster_acked":"a"}`, n))
	}
	return "[" + strings.Join(out, ",") + "]"
}

func TestConnectionsOfAllReplicasAreAdded(t *testing.T) {
	c := newCluster(istiodDeployment(), replicaPod("istiod-b", "10.0.0.2", notReady), replicaPod("istiod-a", "10.0.0.1"),
		replicaPod("istiod-new", "", phase(corev1.PodPending)), replicaPod("istiod-done", "10.0.0.9", phase(corev1.PodFailed)),
		replicaPod("istiod-1-31", "10.0.0.8", func(p *corev1.Pod) { p.Labels[mesh.LabelRev] = "1-31" }))
	c.serve(t, "10.0.0.1", proxies("web-1.shop", "db-0.shop"), "t1")
	c.serve(t, "10.0.0.2", proxies("web-1.shop"), "t1")
	got, err := c.client().Connections(t.Context(), revision)
	if err != nil {
		t.Fatal(err)
	}
	proxy := func(pod, replica string) Proxy {
		return Proxy{ID: pod + ".shop", Namespace: "shop", Pod: pod, Replica: replica, Version: "1.30.0", Cluster: "Kubernetes", Synced: true}
	}
	want := Report{
		Replicas: []Replica{{Pod: "istiod-a", Version: "1.30.0", Connections: 2}, {Pod: "istiod-b", Version: "1.30.0", Connections: 1}},
		Proxies:  []Proxy{proxy("db-0", "istiod-a"), proxy("web-1", "istiod-a"), proxy("web-1", "istiod-b")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the report differs (-want +got):\n%s", diff)
	}
	if n := c.issued.Load(); n != 1 {
		t.Errorf("%d tokens were asked for, want one for all replicas", n)
	}
}

func TestAReplicaThatDoesNotAnswerIsAnErrorThatNamesIt(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, c *cluster){
		"refuses connections": func(*testing.T, *cluster) {},
		"refuses the token":   func(t *testing.T, c *cluster) { c.serve(t, "10.0.0.2", "[]", "other") },
		"answers nonsense":    func(t *testing.T, c *cluster) { c.serve(t, "10.0.0.2", "<html>") },
		"answers half":        func(t *testing.T, c *cluster) { c.serve(t, "10.0.0.2", `[{"proxy":"web-1.shop"},`) },
		"answers an object":   func(t *testing.T, c *cluster) { c.serve(t, "10.0.0.2", `{"error":"x"}`) },
		"answers nothing":     func(t *testing.T, c *cluster) { c.serve(t, "10.0.0.2", "") },
	} {
		c := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"), replicaPod("istiod-b", "10.0.0.2"))
		c.serve(t, "10.0.0.1", proxies("web-1.shop"))
		prepare(t, c)
		got, err := c.client().Connections(t.Context(), revision)
		if err == nil || !strings.Contains(err.Error(), "istiod-b") || strings.Contains(err.Error(), "istiod-a") {
			t.Errorf("a replica that %s gives the error %v, want one that names istiod-b only", name, err)
		}
		if len(got.Replicas) != 1 || len(got.Proxies) != 1 {
			t.Errorf("a replica that %s: the report holds %+v, want what the other replica said", name, got)
		}
	}
}

func TestAReplicaWithoutAnAddressIsUnknown(t *testing.T) {
	c := newCluster(istiodDeployment(), replicaPod("istiod-a", ""))
	if _, err := c.client().Connections(t.Context(), revision); err == nil || !strings.Contains(err.Error(), "istiod-a") {
		t.Errorf("error %v, want one that names istiod-a", err)
	}
}

func TestAHangingReplicaDoesNotHangTheQuestion(t *testing.T) {
	c := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"))
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(release); s.Close() })
	c.listen("10.0.0.1:15014", s.Listener.Addr())
	client := c.client()
	client.timeout = 50 * time.Millisecond
	if _, err := client.Connections(t.Context(), revision); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that the deadline has passed", err)
	}
}

func TestARevisionWithoutReplicasHasNoConnections(t *testing.T) {
	c := newCluster(istiodDeployment())
	got, err := c.client().Connections(t.Context(), revision)
	if err != nil || len(got.Replicas) != 0 || len(got.Proxies) != 0 {
		t.Errorf("want an empty report, got %+v and %v", got, err)
	}
	if c.issued.Load() != 0 {
		t.Error("a token was asked for although nobody is to be asked")
	}
}

func TestPodsThatOutliveTheirDeploymentAreAsked(t *testing.T) {
	c := newCluster(replicaPod("istiod-a", "10.0.0.1", func(p *corev1.Pod) {
		p.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		p.Finalizers = []string{"f"}
	}))
	c.serve(t, "10.0.0.1", proxies("web-1.shop"))
	got, err := c.client().Connections(t.Context(), revision)
	if err != nil || len(got.Proxies) != 1 {
		t.Errorf("want the connection to the pod that goes away, got %+v and %v", got, err)
	}
}

func TestAnAPIServerThatDoesNotAnswerIsAnError(t *testing.T) {
	for _, resource := range []string{"deployments", "pods"} {
		c := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"))
		c.serve(t, "10.0.0.1", "[]")
		c.kube.PrependReactor("*", resource, func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("etcd is away") })
		if _, err := c.client().Connections(t.Context(), revision); err == nil {
			t.Errorf("without an answer about %s the revision is said to have no connections", resource)
		}
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	c := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"))
	c.serve(t, "10.0.0.1", proxies("web-1.shop"), "t2")
	client := c.client()
	if _, err := client.Connections(t.Context(), revision); err != nil {
		t.Error(err)
	}
	if _, err := client.Connections(t.Context(), revision); err != nil || c.issued.Load() != 2 {
		t.Errorf("after the renewal: error %v and %d tokens, want none and 2", err, c.issued.Load())
	}
}

func TestAnIstiodWithoutAuthenticationNeedsNoToken(t *testing.T) {
	c := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"))
	c.refuse = errors.New("no such service account")
	c.serve(t, "10.0.0.1", proxies("web-1.shop"))
	if _, err := c.client().Connections(t.Context(), revision); err != nil {
		t.Error(err)
	}
	c.serve(t, "10.0.0.1", proxies("web-1.shop"), "t1")
	if _, err := c.client().Connections(t.Context(), revision); err == nil || !strings.Contains(err.Error(), "no such service account") {
		t.Errorf("error %v, want one that says why there is no token", err)
	}
}

func TestATokenIsRenewedWhenFourFifthsOfItsLifeHavePassed(t *testing.T) {
	c := newCluster()
	now := time.Now()
	tokens := &tokens{kube: c.kube, namespace: "istio-system", audience: "istio-ca", now: func() time.Time { return now }}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "t1"}, {47 * time.Minute, "t1"}, {2 * time.Minute, "t2"}} {
		now = now.Add(step.after)
		if got, err := tokens.get(t.Context(), ""); err != nil || got != step.want {
			t.Errorf("after %s more: token %q and error %v, want %q", step.after, got, err, step.want)
		}
	}
}

// xdsServer speaks HTTP/2 as istiod does, with or without TLS.
func xdsServer(t *testing.T, secure bool) net.Addr {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	protocols := new(http.Protocols)
	protocols.SetHTTP2(secure)
	protocols.SetUnencryptedHTTP2(!secure)
	s.Config.Protocols = protocols
	if secure {
		s.EnableHTTP2, s.TLS = true, &tls.Config{NextProtos: []string{"h2"}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s.Listener.Addr()
}

func TestARevisionServesWhenEveryReadyReplicaSpeaksXDS(t *testing.T) {
	closed := errors.New("no")
	for name, c := range map[string]struct {
		ports map[string]bool // address to whether TLS is spoken there
		want  error
	}{
		"both by TLS":                 {map[string]bool{"10.0.0.1:15012": true, "10.0.0.2:15012": true}, nil},
		"one by plain text":           {map[string]bool{"10.0.0.1:15012": true, "10.0.0.2:15010": false}, nil},
		"one not at all":              {map[string]bool{"10.0.0.1:15012": true}, closed},
		"one plain on the TLS port":   {map[string]bool{"10.0.0.1:15012": true, "10.0.0.2:15012": false}, closed},
		"one with TLS on plain ports": {map[string]bool{"10.0.0.1:15012": true, "10.0.0.2:15010": true}, closed},
	} {
		cl := newCluster(istiodDeployment(), replicaPod("istiod-a", "10.0.0.1"), replicaPod("istiod-b", "10.0.0.2"), replicaPod("istiod-c", "10.0.0.3", notReady))
		for address, secure := range c.ports {
			cl.listen(address, xdsServer(t, secure))
		}
		client := cl.client()
		client.timeout = 500 * time.Millisecond
		err := client.Serves(t.Context(), revision)
		if (err == nil) != (c.want == nil) || err != nil && !strings.Contains(err.Error(), "istiod-b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARevisionWithoutReadyReplicasDoesNotServe(t *testing.T) {
	for _, objects := range [][]runtime.Object{{istiodDeployment()}, {istiodDeployment(), replicaPod("istiod-a", "10.0.0.1", notReady)}} {
		c := newCluster(objects...)
		c.listen("10.0.0.1:15012", xdsServer(t, true))
		if err := c.client().Serves(t.Context(), revision); err == nil || !strings.Contains(err.Error(), "istio-system/istiod-1-30") {
			t.Errorf("error %v, want one that names the Deployment", err)
		}
	}
}
