package restart

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"meshlift.dev/meshlift/internal/rollout"
)

// evictionPatience bounds one request: while a PodDisruptionBudget is being computed the API server answers "later", and
// the client would wait for it.
const evictionPatience = 5 * time.Second

// Blocked says that a pod may not be evicted yet. Nothing was touched; ask again later.
type Blocked struct {
	// Message is one sentence with the API server's own words, which name the PodDisruptionBudget.
	Message string
}

func (b *Blocked) Error() string { return b.Message }

// evict removes the pods of the action through the Eviction API, which keeps PodDisruptionBudgets and the pod's grace
// period (https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/). A pod that is gone is no error, and
// neither is one whose name another pod has by now.
func (m *Mover) evict(ctx context.Context, a rollout.Action) error {
	for _, e := range a.Evict {
		if err := m.evictPod(ctx, a, e); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mover) evictPod(ctx context.Context, a rollout.Action, e rollout.Eviction) error {
	ctx, cancel := context.WithTimeout(ctx, evictionPatience)
	defer cancel()
	uid := types.UID(e.UID)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: a.Ref.Namespace, Name: e.Pod}}
	err := m.Writer.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: a.Ref.Namespace, Name: e.Pod},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}},
	})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	case apierrors.IsTooManyRequests(err), terminal(err), strings.Contains(words(err), "more than one PodDisruptionBudget"):
		return &Blocked{fmt.Sprintf("pod %s cannot be evicted at the moment: %s", e.Pod, evictionWords(err))}
	}
	return fmt.Errorf("evict pod %s of %s: %w", e.Pod, a.Ref, err)
}

// evictionWords are the API server's words; which PodDisruptionBudget it is stands in the causes.
func evictionWords(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		for _, c := range status.Status().Details.Causes {
			if c.Type == policyv1.DisruptionBudgetCause && c.Message != "" {
				return c.Message
			}
		}
	}
	return words(err)
}
