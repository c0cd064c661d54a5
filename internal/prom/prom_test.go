package prom

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
)

// proxies stands for what proxies serve; the Prometheus that scrapes it is a real one.
type proxies struct {
	mu   sync.Mutex
	text string
}

func (p *proxies) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprint(w, p.text)
}

func (p *proxies) serve(lines ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = strings.Join(lines, "\n") + "\n"
}

// requests are the series of one pod: some answered well, of which some took longer than 25 ms, and some failed.
func requests(end, namespace, workload, pod string, good, slow, bad int) []string {
	labels := fmt.Sprintf(`reporter=%q,%s_workload=%q,%s_workload_namespace=%q,namespace=%q,pod=%q`, end, end, workload, end, namespace, namespace, pod)
	bucket := func(le string, n int) string {
		return fmt.Sprintf(`istio_request_duration_milliseconds_bucket{%s,le=%q} %d`, labels, le, n)
	}
	return []string{
		fmt.Sprintf(`istio_requests_total{%s,response_code="200",grpc_response_status="0"} %d`, labels, good),
		fmt.Sprintf(`istio_requests_total{%s,response_code="200",grpc_response_status="14"} %d`, labels, bad),
		bucket("10", 0), bucket("25", good+bad-slow), bucket("50", good+bad), bucket("+Inf", good+bad),
	}
}

// server starts a Prometheus that scrapes ten times a second, and returns its address.
func server(t *testing.T, p *proxies) string {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("this test asks a real Prometheus: install it, on Debian with `apt-get install prometheus`")
	}
	target := httptest.NewServer(p)
	t.Cleanup(target.Close)
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 100ms}\nscrape_configs:\n- {job_name: proxies, honor_labels: true, static_configs: [{targets: [%s]}]}\n", strings.TrimPrefix(target.URL, "http://"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	var all strings.Builder
	for lines := bufio.NewScanner(said); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			go func() {
				for lines.Scan() { // it stops when nobody reads
				}
			}()
			return "http://" + m[1]
		}
	}
	t.Fatalf("Prometheus does not listen:\n%s", all.String())
	return ""
}

// until asks again until the answer is what is wanted.
func until(t *testing.T, spec *v1alpha1.Metrics, q health.Question, want func(health.Sample) bool) health.Sample {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		s := Meter{Now: time.Now}.Measure(t.Context(), spec, []health.Question{q})[q.Key]
		if want(s) {
			return s
		}
		select {
		case <-deadline:
			t.Fatalf("not what is wanted: %+v", s)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestRequestsToNewPodsAreToldFromThoseToOldOnes(t *testing.T) {
	p := &proxies{}
	spec := &v1alpha1.Metrics{Prometheus: server(t, p), Watch: &metav1.Duration{Duration: time.Minute}}
	question := func(name string, gateway bool, pods ...string) health.Question {
		return health.Question{Key: health.Key{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: name}, Attempt: 1}, Gateway: gateway, Pods: pods, Started: time.Now()}
	}
	all := func(old, fresh int) (lines []string) {
		for _, pod := range [][]string{
			requests("destination", "shop", "web", "web-1.old", 1000*old, 20*old, 10*old), requests("destination", "shop", "web", "web-2.new", 60*fresh, 30*fresh, 40*fresh),
			requests("destination", "shop", "web-2", "web-2-1", 7*old, 0, 7*old), requests("destination", "other", "web", "web-1", 7*old, 0, 7*old),
			requests("source", "shop", "web", "web-1.old", 7*old, 0, 7*old), requests("source", "shop", "edge", "edge-1", 9*fresh, 0, fresh),
		} {
			lines = append(lines, pod...)
		}
		return lines
	}
	// Counters of old pods count from the first scrape on, those of new ones from their start.
	p.serve(all(1, 0)...)
	web := question("web", false, "web-2.new")
	until(t, spec, question("web", false, "web-1.old"), func(s health.Sample) bool { return s.New.Requests == 1010 })
	p.serve(all(2, 1)...)
	s := until(t, spec, web, func(s health.Sample) bool { return s.New.Requests == 100 && s.Old.Requests > 0 })
	if s.New.Errors != 40 || s.Bound != 25 || s.New.Slow != 30 || s.Unknown != "" || len(s.Fired) > 0 {
		t.Errorf("new pods: %+v", s)
	}
	if share := s.Old.Errors / s.Old.Requests; math.Abs(share-10.0/1010) > 0.002 || math.Abs(s.Old.Slow/s.Old.Requests-20.0/1010) > 0.002 {
		t.Errorf("old pods: %+v", s)
	}
	if s := until(t, spec, question("edge", true, "edge-1"), func(s health.Sample) bool { return s.New.Requests > 0 }); s.New.Requests != 10 || s.New.Errors != 1 {
		t.Errorf("a gateway: %+v", s)
	}
	if s := until(t, spec, question("silent", false, "silent-1"), func(health.Sample) bool { return true }); s.Unknown != "" || s.New.Requests != 0 || s.Bound != 0 {
		t.Errorf("a workload without requests: %+v", s)
	}
	spec.Queries = []v1alpha1.MetricsQuery{
		{Name: "fires", Query: `sum(istio_requests_total{namespace="{{namespace}}", destination_workload="{{workload}}", pod=~"{{newPods}}"}) > 99`},
		{Name: "quiet", Query: `sum(istio_requests_total{pod=~"{{newPods}}"}) > 1e9`},
	}
	if s := until(t, spec, web, func(health.Sample) bool { return true }); len(s.Fired) != 1 || !strings.Contains(s.Fired[0], "fires returned {} => 100") {
		t.Errorf("own queries: %+v", s)
	}
}

func TestAPrometheusThatDoesNotAnswerSaysNothing(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }))
	defer broken.Close()
	q := health.Question{Key: health.Key{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "web"}, Attempt: 1}, Pods: []string{"web-1"}}
	for name, spec := range map[string]*v1alpha1.Metrics{
		"an error":     {Prometheus: broken.URL},
		"nobody":       {Prometheus: "http://127.0.0.1:1"},
		"no address":   {Prometheus: "http://\x00"},
		"a wrong path": {Prometheus: broken.URL + "/nowhere"},
	} {
		s, ok := Meter{Now: time.Now}.Measure(t.Context(), spec, []health.Question{q})[q.Key]
		if !ok || s.Unknown == "" || s.At.IsZero() || s.New.Requests != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	p := &proxies{}
	spec := &v1alpha1.Metrics{Prometheus: server(t, p), Queries: []v1alpha1.MetricsQuery{{Name: "mine", Query: "sum("}}}
	until(t, spec, q, func(s health.Sample) bool { return strings.Contains(s.Unknown, `query "mine"`) })
	spec.Queries[0].Query = "scalar(vector(1))"
	until(t, spec, q, func(s health.Sample) bool { return strings.Contains(s.Unknown, "must give an instant vector") })
}
