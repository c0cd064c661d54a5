package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/test/lab/schedule"
)

// quiet is how long nothing has to happen before the next fault comes although the changes that it waits for did not.
const quiet = 2 * time.Second

// storm is a schedule that is being carried out.
type storm struct {
	done chan struct{}
	// log says what was done, in order.
	mu  sync.Mutex
	log []string
	// failed is how many faults could not be done.
	failed int
}

func (s *storm) over() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func (s *storm) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// inflict carries out the faults of a cycle, each when its number of changes has been seen, and ends when the last one is
// over.
func (w *world) inflict(ctx context.Context, s schedule.Schedule) *storm {
	st := &storm{done: make(chan struct{})}
	begin, started := w.changes.Load(), time.Now()
	go func() {
		defer close(st.done)
		var lasting sync.WaitGroup
		defer lasting.Wait()
		for _, f := range s.Faults {
			if !w.await(ctx, begin+int64(f.After)) {
				return
			}
			st.note("%5.1fs after %d changes: %s", time.Since(started).Seconds(), w.changes.Load()-begin, f)
			lasting.Go(func() {
				if err := w.do(ctx, f); err != nil {
					st.note("%s: %v", f, err)
					st.mu.Lock()
					st.failed++
					st.mu.Unlock()
				}
			})
		}
	}()
	return st
}

// await waits for so many changes, or until nothing happens any more.
func (w *world) await(ctx context.Context, changes int64) bool {
	for w.changes.Load() < changes {
		select {
		case <-ctx.Done():
			return false
		case <-w.changed:
		case <-time.After(quiet):
			return true
		}
	}
	return ctx.Err() == nil
}

// do does one fault and returns when it is over.
func (w *world) do(ctx context.Context, f schedule.Fault) error {
	switch f.Kind {
	case schedule.Conflict, schedule.Throttle, schedule.Error, schedule.Timeout, schedule.Lost, schedule.CutWatches, schedule.ExpireWatches,
		schedule.Stale, schedule.ClockForward, schedule.ClockBack:
		w.agents.inflict(f)
		wait(ctx, f.For)
		return nil
	case schedule.Kill, schedule.KillAll:
		w.agents.signal(f.Kind == schedule.KillAll, syscall.SIGKILL)
		return nil
	case schedule.Pause:
		stopped := w.agents.signal(false, syscall.SIGSTOP)
		wait(ctx, f.For)
		for _, p := range stopped {
			p.signal(syscall.SIGCONT)
		}
		return nil
	case schedule.Partition:
		if p := w.agents.theLeader(); p != nil {
			_, _ = fmt.Fprintln(p.commands, f)
		}
		wait(ctx, f.For)
		return nil
	case schedule.RestartAPI:
		return w.fault(ctx, "restart", "kube-apiserver")
	case schedule.SlowEtcd:
		return w.fault(ctx, "slow", "etcd", "--for", f.For.String())
	case schedule.HangNew, schedule.HangOld:
		return w.istiod(ctx, f.Kind == schedule.HangNew, func(pod string) error { return w.fault(ctx, "freeze", pod, "--for", f.For.String()) })
	case schedule.CutNew:
		return w.istiod(ctx, true, func(pod string) error { return w.fault(ctx, "cut", pod, "--for", f.For.String()) })
	case schedule.KillNew:
		return w.istiod(ctx, true, func(pod string) error { return w.fault(ctx, "kill", pod) })
	}
	return w.byHand(ctx, f)
}

// wait lets a fault last.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// fault runs "lab fault"; it returns when the fault is over. That a pod has gone meanwhile is an error; that the lab cannot
// do the fault is a problem of the test.
func (w *world) fault(ctx context.Context, args ...string) error {
	args = append(append([]string{"fault"}, args...), "--name", w.Name)
	out, err := exec.CommandContext(ctx, filepath.Join(w.Root, ".lab", "bin", "lab"), args...).CombinedOutput()
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if text := string(out); strings.Contains(text, "unknown command") || strings.Contains(text, "no fault") || strings.Contains(text, "not running") {
		w.problem("lab %s: %s", strings.Join(args, " "), text)
	}
	return fmt.Errorf("lab %s: %w: %s", strings.Join(args, " "), err, out)
}

// istiod does something to every pod of the old or the new istiod; there may be none.
func (w *world) istiod(ctx context.Context, newer bool, f func(pod string) error) error {
	revision := revisionOf(w.minor)
	if newer {
		revision = revisionOf(w.minor + 1)
	}
	pods := &corev1.PodList{}
	if err := w.Client.List(ctx, pods, client.InNamespace("istio-system"), client.MatchingLabels{"app": "istiod", mesh.LabelRev: revision}); err != nil {
		return err
	}
	for n := range pods.Items {
		if err := f("istio-system/" + pods.Items[n].Name); err != nil {
			return err
		}
	}
	return nil
}

// byHand does what a person or another tool might do in the middle of an upgrade.
func (w *world) byHand(ctx context.Context, f schedule.Fault) error {
	switch f.Kind {
	case schedule.StripHandover:
		return w.stripHandover(ctx)
	case schedule.DeleteGuards:
		return w.deleteGuards(ctx)
	case schedule.StripLabel:
		return w.stripLabel(ctx, w.chosen(f))
	case schedule.EditTemplate:
		o := w.chosen(f)
		w.excuse(refOf(o), 1, false)
		return w.template(ctx, o, func(t *corev1.PodTemplateSpec) bool {
			metav1.SetMetaDataAnnotation(&t.ObjectMeta, "example.com/edited", strconv.FormatInt(time.Now().UnixNano(), 36))
			return true
		})
	case schedule.DeletePods:
		o := w.chosen(f)
		return w.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(o.GetNamespace()), client.MatchingLabels{"app": o.GetName()}, client.GracePeriodSeconds(0))
	case schedule.ScaleWorkload:
		return w.Client.Patch(ctx, w.chosen(f), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":3}}`)))
	case schedule.DeleteWorkload:
		o := w.chosen(f)
		w.excuse(refOf(o), 0, true)
		return client.IgnoreNotFound(w.Client.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	case schedule.DeleteNamespace:
		for _, o := range workloads() {
			if o.GetNamespace() == annex {
				w.excuse(refOf(o), 0, true)
			}
		}
		return client.IgnoreNotFound(w.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: annex}}))
	case schedule.PauseUpgrade:
		return w.pause(ctx, f.For, &v1alpha1.ClusterUpgrade{}, w.name())
	case schedule.PauseRollout:
		return w.pause(ctx, f.For, &v1alpha1.DataPlaneRollout{}, w.rollout(ctx))
	case schedule.DeleteRollout:
		name := w.rollout(ctx)
		if name == "" {
			return nil
		}
		return client.IgnoreNotFound(w.Client.Delete(ctx, &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	case schedule.Withdraw:
		return w.withdraw(ctx, f.For)
	case schedule.NewEnvoyFilter:
		return w.envoyFilter(ctx, f.For)
	case schedule.ScaleNewToZero:
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istiod-" + revisionOf(w.minor+1)}}
		return client.IgnoreNotFound(w.Client.Patch(ctx, d, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":0}}`))))
	}
	return fmt.Errorf("nobody knows how to do %s", f.Kind)
}

// withdraw takes the wish for the decommission back, where there is one, and asks again after a while.
func (w *world) withdraw(ctx context.Context, d time.Duration) error {
	u := &v1alpha1.ClusterUpgrade{}
	if err := w.Client.Get(ctx, client.ObjectKey{Name: w.name()}, u); err != nil || u.Spec.Decommission == nil {
		return client.IgnoreNotFound(err)
	}
	raw, err := json.Marshal(map[string]any{"spec": map[string]any{"decommission": u.Spec.Decommission}})
	if err != nil {
		return err
	}
	if err := w.insist(ctx, u, []byte(`{"spec":{"decommission":null}}`)); err != nil {
		return err
	}
	wait(ctx, d)
	return w.insist(ctx, u, raw)
}

// insist patches until the API server answers.
func (w *world) insist(ctx context.Context, o client.Object, patch []byte) error {
	var err error
	for range 50 {
		if err = client.IgnoreNotFound(w.Client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch))); err == nil || ctx.Err() != nil {
			return err
		}
		wait(ctx, 200*time.Millisecond)
	}
	return err
}

// envoyFilter opens step 3 again for a while.
func (w *world) envoyFilter(ctx context.Context, d time.Duration) error {
	filter := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
	filter.SetAPIVersion("networking.istio.io/v1alpha3")
	filter.SetKind("EnvoyFilter")
	filter.SetNamespace(shop)
	filter.SetName("late")
	if err := w.Client.Create(ctx, filter); err != nil {
		return err
	}
	wait(ctx, d)
	var said []byte
	for range 20 {
		cmd := exec.CommandContext(ctx, w.Meshlift(), "envoyfilters", "ack", shop+"/late", "--note", "by chaos", "--kubeconfig", w.Kubeconfig)
		var err error
		if said, err = cmd.CombinedOutput(); err == nil {
			break
		}
		wait(ctx, 500*time.Millisecond)
	}
	if err := w.Client.Delete(ctx, filter); err != nil {
		return fmt.Errorf("%w, after %s", err, said)
	}
	return nil
}

// chosen is the workload that a fault names.
func (w *world) chosen(f schedule.Fault) client.Object {
	return workloads()[(f.N-1+len(workloads()))%len(workloads())]
}

// stripHandover writes the configuration of the old revision without our entries, as a tool that owns it would.
func (w *world) stripHandover(ctx context.Context) error {
	c := &admissionv1.MutatingWebhookConfiguration{}
	if err := w.Client.Get(ctx, client.ObjectKey{Name: "istio-sidecar-injector-" + revisionOf(w.minor)}, c); err != nil {
		return client.IgnoreNotFound(err)
	}
	stripped, found := handover.Strip(c)
	if !found || len(stripped.Webhooks) == 0 {
		return nil
	}
	return w.Client.Update(ctx, stripped, client.FieldOwner("helm"))
}

func (w *world) deleteGuards(ctx context.Context) error {
	policies, bindings := handover.GuardNames()
	for _, name := range bindings {
		b := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(w.Client.Delete(ctx, b)); err != nil {
			return err
		}
	}
	for _, name := range policies {
		p := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := client.IgnoreNotFound(w.Client.Delete(ctx, p)); err != nil {
			return err
		}
	}
	return nil
}

// stripLabel writes a moved pod template without the label: one restart by hand, and one more move.
func (w *world) stripLabel(ctx context.Context, o client.Object) error {
	return w.template(ctx, o, func(t *corev1.PodTemplateSpec) bool {
		if t.Labels[v1alpha1.RevisionLabel] == "" {
			return false
		}
		w.excuse(refOf(o), 2, false)
		delete(t.Labels, v1alpha1.RevisionLabel)
		return true
	})
}

// template changes a pod template by a conditional update, as kubectl edit does.
func (w *world) template(ctx context.Context, o client.Object, change func(*corev1.PodTemplateSpec) bool) error {
	for range 20 {
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return client.IgnoreNotFound(err)
		}
		var t *corev1.PodTemplateSpec
		switch o := o.(type) {
		case *appsv1.Deployment:
			t = &o.Spec.Template
		case *appsv1.StatefulSet:
			t = &o.Spec.Template
		}
		if !change(t) {
			return nil
		}
		if w.Client.Update(ctx, o, client.FieldOwner("kubectl-edit")) == nil {
			return nil
		}
	}
	return fmt.Errorf("change the template of %s: too many conflicts", o.GetName())
}

// pause pauses an upgrade or a rollout for a while; one that is not there is left alone.
func (w *world) pause(ctx context.Context, d time.Duration, o client.Object, name string) error {
	if name == "" {
		return nil
	}
	o.SetName(name)
	if err := w.insist(ctx, o, []byte(`{"spec":{"paused":true}}`)); err != nil {
		return err
	}
	wait(ctx, d)
	return w.insist(ctx, o, []byte(`{"spec":{"paused":false}}`))
}

// rollout is the name of the rollout that goes on, "" for none.
func (w *world) rollout(ctx context.Context) string {
	list := &v1alpha1.DataPlaneRolloutList{}
	if err := w.Client.List(ctx, list); err != nil {
		return ""
	}
	for n := range list.Items {
		if r := &list.Items[n]; r.Spec.Upgrade == w.name() && r.Status.CompletedAt == nil {
			return r.Name
		}
	}
	return ""
}

// name of the upgrade of the cycle.
func (w *world) name() string { return fmt.Sprintf("cycle-%d-to-%s", w.cycles, revisionOf(w.minor+1)) }
