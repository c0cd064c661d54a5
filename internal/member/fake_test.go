package member

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// server plays as much of an API server as a link needs.
type server struct {
	*httptest.Server
	token   atomic.Value
	hang    atomic.Bool // accepts, and never answers
	notOurs atomic.Bool // has not the kinds of Meshlift
	unready atomic.Bool
	end     chan struct{}
	asked   atomic.Int64

	mu      sync.Mutex
	watches map[chan []byte]string
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{end: make(chan struct{}), watches: map[chan []byte]string{}}
	s.token.Store("first")
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		close(s.end)
		s.Close()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	if s.hang.Load() {
		select {
		case <-s.end:
		case <-r.Context().Done():
		}
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+s.token.Load().(string) {
		status(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	switch {
	case r.URL.Path == "/readyz" && s.unready.Load():
		status(w, http.StatusInternalServerError, "InternalError")
	case r.URL.Path == "/readyz":
		_, _ = fmt.Fprint(w, "ok")
	case r.URL.Path == "/version":
		_, _ = fmt.Fprint(w, `{"gitVersion":"v1.37.2"}`)
	case !strings.HasPrefix(r.URL.Path, "/apis/meshlift.dev/v1alpha1/") || s.notOurs.Load():
		status(w, http.StatusNotFound, "NotFound")
	case r.URL.Query().Get("sendInitialEvents") != "":
		status(w, http.StatusUnprocessableEntity, "Invalid") // an older server: a list comes first
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		kinds := map[string]string{"controlplanes": "ControlPlane", "clusterupgrades": "ClusterUpgrade", "dataplanerollouts": "DataPlaneRollout", "catalogs": "Catalog"}
		_, _ = fmt.Fprintf(w, `{"apiVersion":"meshlift.dev/v1alpha1","kind":"%sList","metadata":{"resourceVersion":"1"},"items":[]}`, kinds[path.Base(r.URL.Path)])
	}
}

func status(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
}

func (s *server) watch(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 10)
	s.mu.Lock()
	s.watches[events] = r.URL.Path
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	for {
		select {
		case <-s.end:
			return
		case <-r.Context().Done():
			return
		case e := <-events:
			_, _ = w.Write(e)
			w.(http.Flusher).Flush()
		}
	}
}

// send makes an object appear in every watch of its kind, and returns how many there are.
func (s *server) send(t *testing.T, resource string, o any) int {
	t.Helper()
	object, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for events, path := range s.watches {
		if strings.HasSuffix(path, "/"+resource) {
			events <- fmt.Appendf(nil, `{"type":"ADDED","object":%s}`+"\n", object)
			n++
		}
	}
	return n
}

// kubeconfig of the server with a token.
func (s *server) kubeconfig(t *testing.T, token string) []byte {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: certificate(s)}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	out, err := clientcmd.Write(*c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *server) target(t *testing.T) Target {
	return Target{Kubeconfig: s.kubeconfig(t, "first"), RequestsPerSecond: 100}
}

// newLinks probes fast; the links end with the test.
func newLinks(t *testing.T) *Links {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	l := NewLinks(Options{Scheme: scheme, Interval: 100 * time.Millisecond, Limit: 300 * time.Millisecond, RequestLimit: 500 * time.Millisecond})
	t.Cleanup(l.Close)
	return l
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in time", what)
		}
	}
}
