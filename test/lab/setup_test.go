package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/observe"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/internal/routing"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// up starts a lab that lives as long as the test, and notes at its end which rights were used there; when the test failed, the
// lab's logs stay.
func up(t *testing.T, name string, flags ...string) *labtest.Lab {
	t.Helper()
	l, err := labtest.Up(name, append(flags, "--audit", ours)...)
	if l != nil {
		t.Cleanup(func() {
			if t.Failed() {
				keepLogs(t, l, name)
			}
			if err := l.Down(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { noteRights(t, l) })
	return l
}

// hubProcess starts the hub of a lab as a process of the host, without webhooks and probes, whose output goes to the log.
func hubProcess(t *testing.T, l *labtest.Lab, log *os.File, flags ...string) *exec.Cmd {
	t.Helper()
	flags = append([]string{"hub", "--webhook-port=0", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false"}, flags...)
	cmd := exec.Command(l.Meshlift(), flags...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// hubUntilTheEnd is hubProcess for the whole test: then it ends in good order, and a test that failed shows the end of its log.
func hubUntilTheEnd(t *testing.T, l *labtest.Lab, name string, flags ...string) {
	t.Helper()
	log, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := hubProcess(t, l, log, flags...)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(name); err == nil && t.Failed() {
			t.Logf("the end of the log of the hub:\n%s", text[max(0, len(text)-6000):])
		}
	})
}

// setupTwoRevisions starts the lab of the handover tests.
func setupTwoRevisions(t *testing.T) *twoRevisions {
	t.Helper()
	l := up(t, "handover", "--install", "1.30.0")
	disco, err := discovery.NewDiscoveryClientForConfig(l.REST)
	if err != nil {
		t.Fatal(err)
	}
	install(t, l, "1.31.0", "1-31")
	l.Istioctl(t, "tag", "set", "default", "--revision", "1-30")
	l.Istioctl(t, "tag", "set", "prod", "--revision", "1-30")
	l.Istioctl(t, "tag", "set", "next", "--revision", "1-31")
	for name, labels := range namespaceLabels {
		namespace(t, l, "inj-"+name, labels)
	}
	return &twoRevisions{
		Lab: l, router: &routing.Router{Live: l.Client, Writer: l.Client, Namespace: "istio-system"},
		observer: observe.New(l.Client, "istio-system", observe.WithDiscovery(disco)),
	}
}

// install installs one more revision by Helm, as a user would.
func install(t *testing.T, l *labtest.Lab, version, revision string) {
	t.Helper()
	h, err := helm.New(helm.Options{REST: l.REST})
	if err != nil {
		t.Fatal(err)
	}
	err = h.Apply(t.Context(), release.Spec{
		Name: "istiod-" + revision, Namespace: "istio-system",
		Source: release.Source{Repository: l.HostCharts, Name: "istiod", Version: version},
		Values: map[string]any{
			"revision": revision, "autoscaleEnabled": false,
			"global": map[string]any{"hub": "docker.io/istio", "tag": version},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	available(t, l, "istio-system", "istiod-"+revision)
	// istiod itself puts the CA bundle into its webhook, a moment after it is available.
	labtest.Eventually(t, "revision "+revision+" injects", func(ctx context.Context) string {
		got, err := probe(ctx, l.Client, "default", map[string]string{"istio.io/rev": revision})
		if err != nil || got != revision {
			return fmt.Sprintf("got %q, %v", got, err)
		}
		return ""
	})
}

func namespace(t *testing.T, l *labtest.Lab, name string, labels map[string]string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if err := l.Client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
}

// available waits until a Deployment is completely rolled out.
func available(t *testing.T, l *labtest.Lab, namespace, name string) {
	t.Helper()
	labtest.Eventually(t, "Deployment "+namespace+"/"+name+" is available", func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, d); err != nil {
			return err.Error()
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.AvailableReplicas < *d.Spec.Replicas || s.Replicas != s.UpdatedReplicas {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}
