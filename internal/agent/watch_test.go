package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestManyEventsAreOneLookAndTheNextOneWaitsForItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
		defer queue.ShutDown()
		one := reconcile.Request{NamespacedName: types.NamespacedName{Name: "r"}}
		looks := 0
		m := &meshWatch{}
		l := &listener{watch: m, interval: time.Second, queue: queue, requests: func(context.Context, client.Reader) []reconcile.Request {
			looks++
			return []reconcile.Request{one}
		}}
		m.listeners = []*listener{l}
		for range 100 {
			m.changed(t.Context())
		}
		time.Sleep(coalesce)
		synctest.Wait()
		if looks != 1 || queue.Len() != 1 {
			t.Fatalf("%d looks, %d requests after the first events", looks, queue.Len())
		}
		m.changed(t.Context())
		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		if looks != 1 {
			t.Fatalf("%d looks before the interval is over", looks)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if looks != 2 {
			t.Fatalf("%d looks after the interval", looks)
		}
	})
}

func TestAnUpdateThatChangesOnlyTheVersionOfAnObjectIsNoChange(t *testing.T) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "d", ResourceVersion: "1", Labels: map[string]string{"a": "b"}}}
	newer := d.DeepCopy()
	newer.ResourceVersion = "2"
	if !same(d, newer) || d.ResourceVersion != "1" {
		t.Errorf("a new version alone counts as a change, or the cached object was written: %v", d.ResourceVersion)
	}
	newer.Labels["a"] = "c"
	if same(d, newer) {
		t.Error("a changed label is no change")
	}
	u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "g", "resourceVersion": "1"}}}
	later := u.DeepCopy()
	later.SetResourceVersion("2")
	if !same(u, later) || u.GetResourceVersion() != "1" {
		t.Error("a new version of an unstructured object counts as a change, or the cached object was written")
	}
	if same(d, &corev1.Pod{}) {
		t.Error("objects of two kinds are the same")
	}
}
