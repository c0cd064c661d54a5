package lab

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// Namespaces of the world: the second one may be deleted while its workloads move.
const (
	shop  = "shop"
	annex = "annex"
)

// world is a cluster with two agents in which one cycle after the other is run under faults.
type world struct {
	*cluster
	agents *agents
	minor  int // of the Istio that runs now
	cycles int
	stop   context.CancelFunc

	// changes counts what happens in the cluster.
	changes atomic.Int64
	changed chan struct{}

	mu       sync.Mutex
	problems []string
	touched  map[mesh.Ref]int // restarts that are not Meshlift's, and those that follow from them
	gone     map[mesh.Ref]bool
	// unguarded is true in a cycle in which both the handover and its guards are deleted by hand: then nothing can
	// refuse a pod of a moved workload that comes out with the old revision.
	unguarded bool
}

// newWorld starts a lab that has Istio versions for so many upgrades.
func newWorld(t *testing.T, lab string, upgrades int, workloads ...string) *world {
	t.Helper()
	chaos := startLab(t, lab, upgrades, append(workloads, "gateway"), "--set", "replicas=0")
	w := &world{cluster: chaos, minor: 30, changed: make(chan struct{}, 1)}
	// The agents of this test serve no admission, so nobody is asked about Meshlift's own objects.
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "meshlift.dev"}}
	if err := client.IgnoreNotFound(w.Client.Delete(t.Context(), c)); err != nil {
		t.Fatal(err)
	}
	w.create(t, catalogUpTo(30+upgrades))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	w.stop = stop
	w.agents = startAgents(ctx, t, w.cluster, 2)
	for _, list := range []client.ObjectList{
		&v1alpha1.ClusterUpgradeList{}, &v1alpha1.DataPlaneRolloutList{}, &admissionv1.MutatingWebhookConfigurationList{}, &admissionv1.ValidatingWebhookConfigurationList{},
		&corev1.NamespaceList{}, &appsv1.DeploymentList{}, &corev1.SecretList{}, &admissionv1.ValidatingAdmissionPolicyBindingList{},
	} {
		go w.follow(ctx, list, func(watch.Event) {
			w.changes.Add(1)
			select {
			case w.changed <- struct{}{}:
			default:
			}
		})
	}
	return w
}

// end stops the agents; the lab goes with the test.
func (w *world) end() {
	w.stop()
	w.agents.wg.Wait()
}

// follow watches a kind and begins again when the watch ends, until the context does.
func (w *world) follow(ctx context.Context, list client.ObjectList, f func(watch.Event)) {
	for ctx.Err() == nil {
		watcher, err := w.Client.Watch(ctx, list)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond): // the API server is away: a rate, not a wait for anything
			}
			continue
		}
		for e := range watcher.ResultChan() {
			if e.Type == watch.Error {
				break
			}
			f(e)
		}
		watcher.Stop()
	}
}

// problem notes a broken invariant.
func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text := fmt.Sprintf(format, args...); len(w.problems) < 20 {
		w.problems = append(w.problems, text)
	}
}

// excuse notes restarts of a workload that are not moves; gone that it was deleted.
func (w *world) excuse(ref mesh.Ref, restarts int, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched[ref] += restarts
	w.gone[ref] = w.gone[ref] || gone
}

func (w *world) excused(ref mesh.Ref) (restarts int, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.touched[ref], w.gone[ref]
}

func revisionOf(minor int) string { return fmt.Sprintf("1-%d", minor) }

// workloads are what every cycle begins with.
func workloads() []client.Object {
	stateful := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "db"}}
	d := deployment(shop, "db", 2)
	stateful.Spec = appsv1.StatefulSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template, ServiceName: "db"}
	slowly := func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"lab.meshlift.dev/ready-delay": "700ms"}
	}
	return []client.Object{
		deployment(shop, "app-0", 1), deployment(shop, "app-1", 2, slowly), deployment(shop, "app-2", 1), stateful,
		deployment(annex, "left", 1), deployment(annex, "right", 1),
	}
}

func refOf(o client.Object) mesh.Ref {
	kind := mesh.KindDeployment
	if _, ok := o.(*appsv1.StatefulSet); ok {
		kind = mesh.KindStatefulSet
	}
	return mesh.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// prepare makes the state from which a cycle begins: every workload is there and complete.
func (w *world) prepare(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	w.problems, w.touched, w.gone = nil, map[mesh.Ref]int{}, map[mesh.Ref]bool{}
	w.mu.Unlock()
	for _, name := range []string{shop, annex} {
		labtest.Eventually(t, "namespace "+name, func(ctx context.Context) string {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{mesh.LabelRev: revisionOf(w.minor)}}}
			if err := w.Client.Create(ctx, ns); err != nil && !apierrors.IsAlreadyExists(err) {
				return err.Error()
			}
			if err := w.Client.Get(ctx, client.ObjectKeyFromObject(ns), ns); err != nil || ns.DeletionTimestamp != nil {
				return fmt.Sprintf("%v, deleted at %v", err, ns.DeletionTimestamp)
			}
			return ""
		})
	}
	for _, o := range workloads() {
		w.create(t, o)
		if d, ok := o.(*appsv1.Deployment); ok {
			w.scale(t, d)
		}
	}
	for _, o := range workloads() {
		labtest.Eventually(t, refOf(o).String()+" is complete", func(ctx context.Context) string {
			return w.incomplete(ctx, o, revisionOf(w.minor))
		})
	}
}

// scale sets the replicas that a workload begins with.
func (w *world) scale(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	for _, want := range workloads() {
		if o, ok := want.(*appsv1.Deployment); ok && refOf(o) == refOf(d) {
			labtest.Eventually(t, "scale "+d.Name, func(ctx context.Context) string {
				raw := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, *o.Spec.Replicas)
				if err := w.Client.Patch(ctx, d.DeepCopy(), client.RawPatch(types.MergePatchType, raw)); err != nil {
					return err.Error()
				}
				return ""
			})
		}
	}
}

// incomplete says what a workload lacks to run completely on a revision; "" when it does, with no other pod alive.
func (w *world) incomplete(ctx context.Context, o client.Object, revision string) string {
	if err := w.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return err.Error()
	}
	wanted, status := int32(0), ""
	switch o := o.(type) {
	case *appsv1.Deployment:
		s := o.Status
		wanted = *o.Spec.Replicas
		if s.ObservedGeneration < o.Generation || s.UpdatedReplicas < wanted || s.AvailableReplicas < wanted || s.Replicas != s.UpdatedReplicas {
			status = fmt.Sprintf("%+v", s)
		}
	case *appsv1.StatefulSet:
		s := o.Status
		wanted = *o.Spec.Replicas
		if s.ObservedGeneration < o.Generation || s.UpdatedReplicas < wanted || s.AvailableReplicas < wanted {
			status = fmt.Sprintf("%+v", s)
		}
	}
	if status != "" {
		return status
	}
	pods := &corev1.PodList{}
	if err := w.Client.List(ctx, pods, client.InNamespace(o.GetNamespace()), client.MatchingLabels{"app": o.GetName()}); err != nil {
		return err.Error()
	}
	on := int32(0)
	for n := range pods.Items {
		switch p := &pods.Items[n]; {
		case p.DeletionTimestamp != nil:
		case injectedBy(p) != revision:
			return fmt.Sprintf("pod %s was injected by %q", p.Name, injectedBy(p))
		default:
			on++
		}
	}
	if on < wanted {
		return fmt.Sprintf("%d of %d pods", on, wanted)
	}
	return ""
}

// restarts counts how often a workload has got a new pod template, by what its controller keeps.
func (w *world) restarts(ctx context.Context, o client.Object) (int64, error) {
	if err := w.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return 0, err
	}
	if d, ok := o.(*appsv1.Deployment); ok {
		var n int64
		_, err := fmt.Sscan(d.Annotations["deployment.kubernetes.io/revision"], &n)
		return n, err
	}
	list := &appsv1.ControllerRevisionList{}
	if err := w.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingLabels{"app": o.GetName()}); err != nil {
		return 0, err
	}
	latest := int64(0)
	for n := range list.Items {
		if ptr.Deref(metav1.GetControllerOf(&list.Items[n]), metav1.OwnerReference{}).UID == o.GetUID() {
			latest = max(latest, list.Items[n].Revision)
		}
	}
	return latest, nil
}

// catalogUpTo allows one minor version after the other.
func catalogUpTo(last int) *v1alpha1.Catalog {
	cat := &v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}}
	cat.Spec.ChartRepository, cat.Spec.ImageHub = "http://10.128.0.1:8879/charts", "docker.io/istio"
	for minor := 31; minor <= last; minor++ {
		version := fmt.Sprintf("1.%d", minor)
		cat.Spec.Releases = append(cat.Spec.Releases, v1alpha1.Release{Version: version, Patch: version + ".0", Kubernetes: []string{"1.32", "1.33", "1.34", "1.35", "1.36", "1.37"}})
		cat.Spec.Paths = append(cat.Spec.Paths, v1alpha1.Path{From: fmt.Sprintf("1.%d", minor-1), To: version, Kubernetes: []string{"1.37"}})
	}
	return cat
}
