package follow_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/follow"
)

const resync = 15 * time.Second

// cluster is a fake cluster whose watch and reads the test controls.
type cluster struct {
	client  client.WithWatch
	object  *v1alpha1.DataPlaneRollout
	watcher *watch.FakeWatcher
	// watches counts how often a watch was opened.
	watches int
	// readError is what reads answer.
	readError error
	// watchError is what opening a watch answers.
	watchError error
}

func newCluster() *cluster {
	k := &cluster{object: &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r", ResourceVersion: "10"}}}
	k.client = fake.NewClientBuilder().WithScheme(env.Scheme()).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
			if k.readError != nil {
				return k.readError
			}
			k.object.DeepCopyInto(obj.(*v1alpha1.DataPlaneRollout))
			return nil
		},
		Watch: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
			if k.watchError != nil {
				return nil, k.watchError
			}
			k.watches++
			k.watcher = watch.NewFake()
			return k.watcher, nil
		},
	}).Build()
	return k
}

func (k *cluster) version(v string) *v1alpha1.DataPlaneRollout {
	o := k.object.DeepCopy()
	o.ResourceVersion = v
	return o
}

func (k *cluster) follow(ctx context.Context) <-chan follow.Update[*v1alpha1.DataPlaneRollout] {
	return follow.Object(ctx, k.client, &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: "r"}}, &v1alpha1.DataPlaneRolloutList{}, resync)
}

// expect reads one update and compares its version; "" means an update without an object.
func expect(t *testing.T, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout], version string) follow.Update[*v1alpha1.DataPlaneRollout] {
	t.Helper()
	u := <-updates
	got := ""
	if u.Object != nil {
		got = u.Object.ResourceVersion
	}
	if got != version {
		t.Fatalf("got version %q (%+v), want %q", got, u, version)
	}
	return u
}

// in runs a test with a clock of its own: time passes when everything waits.
func in(t *testing.T, f func(t *testing.T, k *cluster, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout])) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		k := newCluster()
		updates := k.follow(ctx)
		f(t, k, updates)
		cancel()
		for range updates {
			// The channel is closed in the end, else the test hangs and fails.
		}
	})
}

func TestEveryVersionIsShownOnceAndInOrder(t *testing.T) {
	in(t, func(t *testing.T, k *cluster, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout]) {
		expect(t, updates, "10")
		synctest.Wait()
		k.watcher.Add(k.version("10"))   // the watch begins with what was read already
		k.watcher.Modify(k.version("9")) // and may be behind
		other := k.version("11")
		other.Name = "other"
		k.watcher.Modify(other)
		k.watcher.Modify(k.version("12"))
		expect(t, updates, "12")
	})
}

func TestAWatchThatIsLostCostsOneResync(t *testing.T) {
	in(t, func(t *testing.T, k *cluster, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout]) {
		expect(t, updates, "10")
		synctest.Wait()
		k.watcher.Stop()
		k.object = k.version("11")
		begin := time.Now()
		expect(t, updates, "11")
		if took := time.Since(begin); took > resync {
			t.Errorf("it took %s", took)
		}
		synctest.Wait()
		if k.watches != 2 {
			t.Errorf("%d watches were opened, want 2", k.watches)
		}
		k.watcher.Modify(k.version("12"))
		expect(t, updates, "12")
	})
}

func TestWithoutAWatchItReadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newCluster()
		k.watchError = errors.New("watch is not allowed")
		updates := k.follow(t.Context())
		expect(t, updates, "10")
		k.object = k.version("11")
		expect(t, updates, "11")
	})
}

func TestTroubleIsToldAndItsEndToo(t *testing.T) {
	in(t, func(t *testing.T, k *cluster, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout]) {
		expect(t, updates, "10")
		k.readError = errors.New("connection refused")
		if u := expect(t, updates, ""); u.Err == nil || u.Fatal || u.Gone {
			t.Fatalf("%+v", u)
		}
		k.readError = nil
		expect(t, updates, "10") // the same version, so that the trouble is known to be over
	})
}

func TestItEndsWhenThereIsNothingToFollow(t *testing.T) {
	resource := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "dataplanerollouts"}
	for name, c := range map[string]struct {
		err         error
		gone, fatal bool
	}{
		"the object is not there": {apierrors.NewNotFound(resource, "r"), true, false},
		"reading is forbidden":    {apierrors.NewForbidden(resource, "r", errors.New("no")), false, true},
		"the login has ended":     {apierrors.NewUnauthorized("no"), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newCluster()
				k.readError = c.err
				updates := k.follow(t.Context())
				if u := <-updates; u.Gone != c.gone || u.Fatal != c.fatal {
					t.Errorf("%+v", u)
				}
				if u, open := <-updates; open {
					t.Errorf("there is more: %+v", u)
				}
			})
		})
	}
}

func TestADeletionIsTheEnd(t *testing.T) {
	in(t, func(t *testing.T, k *cluster, updates <-chan follow.Update[*v1alpha1.DataPlaneRollout]) {
		expect(t, updates, "10")
		synctest.Wait()
		k.watcher.Delete(k.version("11"))
		if u := expect(t, updates, ""); !u.Gone {
			t.Errorf("%+v", u)
		}
	})
}
