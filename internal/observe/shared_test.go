package observe

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestASharedInventoryIsMadeAgainOnlyAfterAChangeOrWhenItIsOld(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	changes, known := uint64(1), true
	s := NewShared(New(c, "istio-system"), func() (uint64, bool) { return changes, known }, clock)
	has := func(name string) bool {
		t.Helper()
		inv, err := s.Inventory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, ok := inv.Namespaces[name]
		return ok
	}
	add := func(name string) {
		t.Helper()
		if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	has("a")
	add("a")
	if has("a") {
		t.Error("the inventory was made again without a change")
	}
	changes++
	if !has("a") {
		t.Error("a change was not looked at")
	}
	add("b")
	clock.SetTime(clock.Now().Add(maxAge))
	if !has("b") {
		t.Error("an old inventory was believed")
	}
	add("c")
	if known = false; !has("c") {
		t.Error("an inventory was kept although nobody counts the changes")
	}
}
