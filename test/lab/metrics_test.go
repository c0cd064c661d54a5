package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

const (
	// asExporter in the environment makes the test binary serve what the proxies of a lab would: they are simulated and carry no
	// request. The Prometheus that scrapes it is a real one.
	asExporter = "MESHLIFT_FAKE_METRICS"
	// failsOn on a pod is the revision whose proxy has every fourth request fail.
	failsOn = "fails-on"
	// perSecond is how many requests each pod gets.
	perSecond = 500

	exporterAddress   = "127.0.0.1:9099"
	prometheusAddress = "10.128.0.1:9090"
)

// export serves the metrics of pods by their age until it is killed.
func export() error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		pods := &corev1.PodList{}
		if err := c.List(r.Context(), pods); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for n := range pods.Items {
			writeRequests(w, &pods.Items[n])
		}
	})
	server := &http.Server{Addr: exporterAddress, Handler: mux, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

// writeRequests writes the counters of one pod, as its proxy would.
func writeRequests(w http.ResponseWriter, p *corev1.Pod) {
	app, by := p.Labels["app"], injectedBy(p)
	if app == "" || by == "" || p.Status.Phase != corev1.PodRunning {
		return
	}
	all := int(time.Since(p.CreationTimestamp.Time).Seconds() * perSecond)
	bad := 0
	if p.Annotations[failsOn] == by {
		bad = all / 4
	}
	labels := fmt.Sprintf("reporter=\"destination\",destination_workload=%q,destination_workload_namespace=%q,namespace=%q,pod=%q", app, p.Namespace, p.Namespace, p.Name)
	for _, line := range []string{
		fmt.Sprintf("istio_requests_total{%s,response_code=\"200\"} %d", labels, all-bad), fmt.Sprintf("istio_requests_total{%s,response_code=\"503\"} %d", labels, bad),
		fmt.Sprintf("istio_request_duration_milliseconds_bucket{%s,le=\"25\"} %d", labels, all), fmt.Sprintf("istio_request_duration_milliseconds_bucket{%s,le=\"+Inf\"} %d", labels, all),
	} {
		_, _ = fmt.Fprintln(w, line)
	}
}

// prometheus starts a Prometheus in the lab that scrapes its pods every second.
func (c *cluster) prometheus(t *testing.T) {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("this test asks a real Prometheus: install it, on Debian with `apt-get install prometheus`")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- {job_name: proxies, honor_labels: true, static_configs: [{targets: ['%s']}]}\n", exporterAddress)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.background(t, asExporter+"=1", self)
	c.background(t, "", binary, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+prometheusAddress)
}

// background runs a command in the lab until the test ends.
func (c *cluster) background(t *testing.T, env string, command ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(c.Root, ".lab", "bin", "lab"), append([]string{"exec", "--name", c.Name, "--"}, command...)...)
	said := &strings.Builder{}
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = append(os.Environ(), env), said, said, 10*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", command[0], said)
		}
	})
}

// metricsGate has a target with which the requests to one workload fail.
func metricsGate(t *testing.T, c *cluster) {
	t.Helper()
	c.gated(t, "errors", "paid", fmt.Sprintf("{syncDeadline: 5m, metrics: {prometheus: 'http://%s', watch: 20s}}", prometheusAddress))
	f := c.stopped(t, "errors", v1alpha1.FailureMovedBack)
	if f.Name != "b-fails" || f.Gate == nil || f.Gate.Gate != "Metrics" || len(f.Gate.Seen) == 0 || !strings.Contains(f.Message, "fail more often than before: 25 % of") {
		t.Errorf("the failure does not tell what was seen: %+v", f)
	}
	c.runs(t, "paid", "a-good", newRev, 1, 2)
	c.runs(t, "paid", "b-fails", oldRev, 2, 2)
	c.runs(t, "paid", "c-last", oldRev, 1, 1)
	c.told(t, "errors", v1alpha1.FailureErrors)
	c.ok(t, "rollout", "skip", "paid/Deployment/b-fails")
	c.complete(t)
	c.runs(t, "paid", "c-last", newRev, 1, 2)
}

// paid is the namespace of the workloads that [metricsGate] moves.
func (c *cluster) paid(t *testing.T) {
	t.Helper()
	namespace(t, c.Lab, "paid", map[string]string{mesh.LabelRev: oldRev})
	c.create(t, deployment("paid", "a-good", 1))
	c.create(t, deployment("paid", "b-fails", 2, func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{failsOn: newRev}
	}))
	c.create(t, deployment("paid", "c-last", 1))
}
