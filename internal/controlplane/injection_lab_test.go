package controlplane_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
)

// lostAnswer tells whether the connection to istiod broke while it answered: the pod was refused, loudly, and the API
// server says itself that one should try again. A webhook that does not answer at all is another matter.
func lostAnswer(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "Please retry")
}

// injected returns the revision that injects a pod in a namespace now; "" for none. A pod that two revisions inject says
// so by its discovery address.
func (l *lab) injected(ctx context.Context, namespace string, labels map[string]string) (string, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Namespace: namespace, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "example.com/app"}}},
	}
	err := l.Create(ctx, pod, client.DryRunAll)
	for try := 0; try < 3 && lostAnswer(err); try++ {
		err = l.Create(ctx, pod, client.DryRunAll) // as the controller that owns the pod would
	}
	if err != nil {
		return "", err
	}
	text := pod.Annotations[mesh.AnnotationStatus]
	if text == "" {
		return "", nil
	}
	var status struct{ Revision string }
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return "", err
	}
	proxies := 0
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == "istio-proxy" {
			proxies++
		}
	}
	if proxies != 1 {
		return "", fmt.Errorf("the pod has %d proxies", proxies)
	}
	return status.Revision, nil
}

func (l *lab) wantInjected(t *testing.T, namespace string, labels map[string]string, want string) {
	t.Helper()
	got, err := l.injected(t.Context(), namespace, labels)
	if err != nil || got != want {
		t.Errorf("a pod in %s with labels %v is injected by %q (%v), want %q", namespace, labels, got, err, want)
	}
}

// watch creates pods in the namespaces without pause until stop is called, which returns everything that was not
// injected by exactly one of the two revisions, and how many pods it saw. It returns when every namespace has seen a pod,
// and stop waits for one more in each.
func (l *lab) watch(t *testing.T, a, b string, pods map[string]map[string]string) (stop func() (anomalies []string, n int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg, started sync.WaitGroup
	var mu sync.Mutex
	var bad []string
	n := 0
	ending := make(chan struct{})
	for namespace, labels := range pods {
		started.Add(1)
		wg.Go(func() {
			for i := 0; ; i++ {
				last := false
				select {
				case <-ending:
					last = true
				case <-ctx.Done():
					return
				default:
				}
				got, err := l.injected(ctx, namespace, labels)
				mu.Lock()
				n++
				if err != nil || got != a && got != b {
					bad = append(bad, fmt.Sprintf("%s: injected by %q, %v", namespace, got, err))
				}
				mu.Unlock()
				if i == 0 {
					started.Done()
				}
				if last {
					return
				}
			}
		})
	}
	started.Wait()
	return func() ([]string, int) { close(ending); wg.Wait(); cancel(); return bad, n }
}
