package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// apiServer serves the kubelet API: logs, exec and port-forward for the API server.
type apiServer struct {
	k        *kubelet
	http     *http.Server
	listener net.Listener
}

func (k *kubelet) newServer() (*apiServer, error) {
	ca, err := os.ReadFile(k.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("client CA: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("client CA %s has no certificate", k.ClientCA)
	}
	certificate, err := tls.LoadX509KeyPair(k.TLSCert, k.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	address := net.JoinHostPort(k.Network.Gateway().String(), strconv.Itoa(kubeletPort))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("kubelet API: %w", err)
	}
	s := &apiServer{k: k, listener: listener}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 30 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			NextProtos: []string{"http/1.1"}, // exec takes connections over, which HTTP/2 can't
		},
	}
	return s, nil
}

// serve answers requests until ctx ends.
func (s *apiServer) serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.http.Close() })
	defer stop()
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	err := s.http.ServeTLS(s.listener, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *apiServer) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /pods", s.listPods)
	mux.HandleFunc("GET /stats/summary", s.stats)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	for _, pattern := range []string{"/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"} {
		mux.HandleFunc("GET "+pattern, s.exec)
		mux.HandleFunc("POST "+pattern, s.exec)
	}
	for _, pattern := range []string{"/portForward/{namespace}/{pod}", "/portForward/{namespace}/{pod}/{uid}"} {
		mux.HandleFunc("GET "+pattern, s.portForward)
		mux.HandleFunc("POST "+pattern, s.portForward)
	}
	return mux
}

func (s *apiServer) listPods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	s.k.mu.Lock()
	for _, p := range s.k.pods {
		list.Items = append(list.Items, *p.latest())
	}
	s.k.mu.Unlock()
	writeJSON(w, list)
}

// stats is as little as clients need to not fail.
func (s *apiServer) stats(w http.ResponseWriter, _ *http.Request) {
	summary := statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{NodeName: s.k.NodeName, StartTime: metav1.Now()}}
	s.k.mu.Lock()
	for _, p := range s.k.pods {
		o := p.latest()
		summary.Pods = append(summary.Pods, statsv1alpha1.PodStats{
			PodRef:    statsv1alpha1.PodReference{Name: o.Name, Namespace: o.Namespace, UID: string(o.UID)},
			StartTime: metav1.NewTime(p.started),
		})
	}
	s.k.mu.Unlock()
	writeJSON(w, summary)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone
}

// find returns the pod and container that a request names, or answers that there is none.
func (s *apiServer) find(w http.ResponseWriter, r *http.Request) (*pod, *ctr, bool) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	p, ok := s.k.findPod(namespace, name, r.PathValue("uid"))
	if !ok {
		http.Error(w, fmt.Sprintf("pod %s/%s is not on node %s", namespace, name, s.k.NodeName), http.StatusNotFound)
		return nil, nil, false
	}
	wanted := r.PathValue("container")
	if wanted == "" {
		return p, nil, true
	}
	for _, c := range p.containers {
		if c.name == wanted {
			return p, c, true
		}
	}
	http.Error(w, fmt.Sprintf("container %s not found in pod %s/%s", wanted, namespace, name), http.StatusNotFound)
	return nil, nil, false
}

func (s *apiServer) logs(w http.ResponseWriter, r *http.Request) {
	p, c, ok := s.find(w, r)
	if !ok {
		return
	}
	query, previous, err := parseLogQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	file := c.output
	if previous {
		file = c.previous
	}
	p.mu.Unlock()
	if file == nil {
		message := fmt.Sprintf("container %q in pod %q is waiting to start", c.name, r.PathValue("pod"))
		if previous {
			message = fmt.Sprintf("previous terminated container %q in pod %q not found", c.name, r.PathValue("pod"))
		}
		http.Error(w, message, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	flush := http.NewResponseController(w).Flush
	err = file.read(r.Context().Done(), query, w, func() { _ = flush() })
	if err != nil && !errors.Is(err, io.EOF) {
		s.k.Log.Debug("log request ended", "error", err)
	}
}

func parseLogQuery(values url.Values) (q logQuery, previous bool, err error) {
	q.tail = -1
	number := func(name string, to *int64) {
		if text := values.Get(name); text != "" && err == nil {
			if *to, err = strconv.ParseInt(text, 10, 64); err == nil && *to < 0 {
				err = fmt.Errorf("%s must not be negative", name)
			}
		}
	}
	flag := func(name string) bool {
		on, parseErr := strconv.ParseBool(values.Get(name))
		return parseErr == nil && on
	}
	var seconds int64
	number("tailLines", &q.tail)
	number("limitBytes", &q.limit)
	number("sinceSeconds", &seconds)
	if err != nil {
		return q, false, err
	}
	if seconds > 0 {
		q.since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if text := values.Get("sinceTime"); text != "" {
		if q.since, err = time.Parse(time.RFC3339, text); err != nil {
			return q, false, err
		}
	}
	q.follow, q.timestamps = flag("follow"), flag("timestamps")
	return q, flag("previous"), nil
}
