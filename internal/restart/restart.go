// Package restart moves one workload: it rehearses the next pod, then has a [Driver] change what makes the pods. Where
// no controller replaces the pods, it evicts them.
package restart

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// Mover moves workloads of one cluster.
type Mover struct {
	// Live reads from the API server and not from a cache: a rehearsal needs the whole pod template of this moment.
	Live client.Reader
	// Writer writes.
	Writer client.Client

	ahead rehearsals
}

// Driver is how a workload is moved; its method and its kind choose it. Every call may be made again at any time: what is
// done already is not done twice.
type Driver interface {
	// Read reads the workload as it is at this moment; the other calls are about that object.
	Read(ctx context.Context, ref mesh.Ref) (client.Object, error)
	// Next returns the next pod that the workload gets when the action is carried out, as its controller would create
	// it; nil when that is not for Meshlift to know.
	Next(o client.Object, a rollout.Action) *corev1.Pod
	// Begin has every pod that the workload gets from now on injected by the target of the action.
	Begin(ctx context.Context, o client.Object, a rollout.Action) error
	// End puts back what Begin changed for the time of the move only.
	End(ctx context.Context, o client.Object) error
}

// Refusal says that the move cannot be made as things are. Nothing was touched.
type Refusal struct {
	// Reason is [v1alpha1.FailureRehearsal], [v1alpha1.FailureApply], [v1alpha1.FailurePinned] or
	// [v1alpha1.FailureHeldBack].
	Reason string
	// Message is one sentence, with the API server's own words where there are some.
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Do carries out one action: an eviction, the end of a move, or its rehearsal and then its begin. It returns a [*Refusal]
// when the move cannot be made as things are, a [*Blocked] when a pod may not be evicted yet, and any other error when
// it should be tried again. Doing the same action twice changes nothing.
func (m *Mover) Do(ctx context.Context, a rollout.Action) error {
	if len(a.Evict) > 0 {
		if a.Method == rollout.ByClaim {
			if err := m.proved(ctx, a); err != nil {
				return err
			}
		}
		return m.evict(ctx, a)
	}
	if done, err := m.fromRehearsal(ctx, a); done {
		return err
	}
	d, err := m.driver(a)
	if err != nil {
		return err
	}
	o, err := d.Read(ctx, a.Ref)
	if err != nil {
		return err
	}
	if a.Restore {
		return d.End(ctx, o)
	}
	if err := m.refused(ctx, d, o, a); err != nil {
		return err
	}
	return d.Begin(ctx, o, a)
}

// Rehearse only rehearses the action.
func (m *Mover) Rehearse(ctx context.Context, a rollout.Action) error {
	d, err := m.driver(a)
	if err != nil {
		return err
	}
	o, err := d.Read(ctx, a.Ref)
	if err != nil {
		return err
	}
	return m.refused(ctx, d, o, a)
}

// refused finds out before anything is touched whether the move can be made.
func (m *Mover) refused(ctx context.Context, d Driver, o client.Object, a rollout.Action) error {
	if t, ok := d.(templated); ok {
		if err := t.pinned(o, a); err != nil {
			return err
		}
	}
	return m.rehearse(ctx, d.Next(o, a), a)
}

// driver is where a new way of moving is added.
func (m *Mover) driver(a rollout.Action) (Driver, error) {
	if a.Method == rollout.ByGatewayLabel {
		return gateway{m}, nil
	}
	k, ok := kindOf(a.Ref.Kind)
	switch {
	case ok && a.Method == rollout.ByClaim && !a.Restore:
		return claimed{templated{m, k}}, nil
	case ok:
		return templated{m, k}, nil
	}
	return nil, &Refusal{v1alpha1.FailureApply, fmt.Sprintf("Meshlift does not drive the kind %s", a.Ref.Kind)}
}

// rehearse creates the next pod of the workload as a dry run: admission, injection, quota, pod security and every other
// policy answer as they would for the real pod, and nothing happens
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).
func (m *Mover) rehearse(ctx context.Context, pod *corev1.Pod, a rollout.Action) error {
	if pod == nil {
		return nil
	}
	err := m.Writer.Create(ctx, pod, client.DryRunAll)
	switch {
	case err != nil && terminal(err):
		return &Refusal{v1alpha1.FailureRehearsal, fmt.Sprintf("the rehearsal of the next pod of %s was refused: %s", a.Ref, words(err))}
	case err != nil:
		return fmt.Errorf("rehearse the next pod of %s: %w", a.Ref, err)
	}
	if got := mesh.RevisionOf(pod.Annotations); got != a.Target {
		return &Refusal{v1alpha1.FailureRehearsal, fmt.Sprintf("the rehearsal of the next pod of %s was injected by %s and not by %s: check its labels and the injection webhooks, then retry", a.Ref, orNone(got), a.Target)}
	}
	return nil
}

// terminal tells whether trying again without a change somewhere else would get the same answer.
func terminal(err error) bool {
	switch {
	case apierrors.IsInternalError(err), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err), apierrors.IsTooManyRequests(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsConflict(err), apierrors.IsUnexpectedServerError(err):
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsMethodNotSupported(err)
}

func words(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status().Message
	}
	return err.Error()
}

func orNone(s string) string {
	if s == "" {
		return "no revision"
	}
	return s
}
