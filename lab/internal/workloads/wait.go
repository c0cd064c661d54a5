package workloads

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const (
	pollInterval = 100 * time.Millisecond
	pollTimeout  = 6 * time.Minute
)

// awaitInjection waits until istiod's injection webhook answers: until then pods cannot be created, or are created
// without a sidecar. The proof is a pod that is created in dry-run.
func awaitInjection(ctx context.Context, kube kubernetes.Interface, m Mesh) error {
	label := map[string]string{"sidecar.istio.io/inject": "true"}
	if m.Revision != "" {
		label["istio.io/rev"] = m.Revision
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "lab-injection-probe", Labels: label},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "probe"}}},
	}
	var last string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		created, err := kube.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err != nil:
			last = err.Error()
			return false, nil
		case created.Annotations["sidecar.istio.io/status"] == "":
			last = "the pod was not injected"
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("injection does not work: %w (last answer: %s)", err, last)
	}
	return nil
}

// awaitAvailable waits until every Deployment of the cluster is completely rolled out.
func awaitAvailable(ctx context.Context, kube kubernetes.Interface) error {
	var missing []string
	err := wait.PollUntilContextTimeout(ctx, pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := kube.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil // the timeout decides
		}
		missing = missing[:0]
		for i := range list.Items {
			if d := &list.Items[i]; !available(d) {
				missing = append(missing, d.Namespace+"/"+d.Name)
			}
		}
		return len(missing) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("not available: %s: %w", strings.Join(missing[:min(len(missing), 10)], ", "), err)
	}
	return nil
}

func available(d *appsv1.Deployment) bool {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == want && d.Status.AvailableReplicas == want && d.Status.Replicas == want
}
