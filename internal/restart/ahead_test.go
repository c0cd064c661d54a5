package restart

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// api is an API server with one Deployment that notes what is asked of it.
type api struct {
	client.Client
	asked []string
	// injects is the revision that admission gives to pods.
	injects string
	// slow is called within a rehearsal.
	slow func()
}

func newAPI(t *testing.T) *api {
	t.Helper()
	d := &appsv1.Deployment{}
	d.Namespace, d.Name, d.UID = cart.Namespace, cart.Name, "1"
	a := &api{injects: "1-31", slow: func() {}}
	a.Client = interceptor.NewClient(fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(d).Build(), interceptor.Funcs{
		Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, options ...client.GetOption) error {
			a.asked = append(a.asked, "read")
			return w.Get(ctx, key, o, options...)
		},
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			a.asked = append(a.asked, "rehearsal")
			a.slow()
			o.(*corev1.Pod).Annotations = map[string]string{mesh.AnnotationStatus: `{"revision":"` + a.injects + `"}`}
			return nil
		},
		Apply: func(ctx context.Context, w client.WithWatch, o runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
			patch := &unstructured.Unstructured{Object: fields(t, o)}
			now := &appsv1.Deployment{}
			if err := w.Get(ctx, client.ObjectKeyFromObject(patch), now); err != nil {
				return err
			}
			if v := patch.GetResourceVersion(); v != "" && v != now.ResourceVersion {
				a.asked = append(a.asked, "conflict")
				return apierrors.NewConflict(appsv1.Resource("deployments"), now.Name, errors.New("modified"))
			}
			a.asked = append(a.asked, "change")
			return nil
		},
	})
	return a
}

func fields(t *testing.T, o any) map[string]any {
	t.Helper()
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAMoveThatWasRehearsedAheadIsOneRequestUnlessSomethingHasChanged(t *testing.T) {
	move := rollout.Action{Ref: cart, Method: rollout.ByTemplate, Target: "1-31", Label: true, Record: mesh.Move{To: "1-31", Attempt: 1}}
	whole := []string{"read", "rehearsal", "change"}
	for name, c := range map[string]struct {
		meanwhile func(t *testing.T, a *api, m *Mover)
		action    rollout.Action
		want      []string
	}{
		"nothing has changed": {func(*testing.T, *api, *Mover) {}, move, []string{"change"}},
		"somebody wrote the workload": {func(t *testing.T, a *api, _ *Mover) {
			d := &appsv1.Deployment{}
			if err := a.Get(t.Context(), client.ObjectKey{Namespace: cart.Namespace, Name: cart.Name}, d); err != nil {
				t.Fatal(err)
			}
			d.Labels = map[string]string{"a": "b"}
			if err := a.Update(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}, move, append([]string{"conflict"}, whole...)},
		"it is too long ago": {func(_ *testing.T, _ *api, m *Mover) {
			m.ahead.all[cart].made = time.Now().Add(-rehearsalAge - time.Second)
		}, move, whole},
		"another move was rehearsed": {func(*testing.T, *api, *Mover) {}, rollout.Action{Ref: cart, Method: rollout.ByTemplate, Target: "1-31", Label: true, Pin: "1-31", Record: move.Record}, whole},
		"it is used up": {func(t *testing.T, _ *api, m *Mover) {
			if err := m.Do(t.Context(), move); err != nil {
				t.Fatal(err)
			}
		}, move, whole},
	} {
		a := newAPI(t)
		m := &Mover{Live: a, Writer: a}
		if err := m.Ahead(t.Context(), move); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.asked, whole[:2]) {
			t.Errorf("%s: ahead of the move: %v", name, a.asked)
		}
		c.meanwhile(t, a, m)
		a.asked = nil
		if err := m.Do(t.Context(), c.action); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(a.asked, c.want) {
			t.Errorf("%s: %v, want %v", name, a.asked, c.want)
		}
	}
}

func TestAMoveWaitsForItsRehearsalThatIsGoingOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		began, answer := make(chan struct{}), make(chan struct{})
		a.slow = func() { close(began); <-answer }
		m := &Mover{Live: a, Writer: a}
		move := rollout.Action{Ref: cart, Method: rollout.ByTemplate, Target: "1-31", Label: true}
		results := make(chan error, 2)
		go func() { results <- m.Ahead(t.Context(), move) }()
		<-began
		go func() { results <- m.Do(t.Context(), move) }()
		synctest.Wait()
		close(answer)
		if err := errors.Join(<-results, <-results); err != nil || !slices.Equal(a.asked, []string{"read", "rehearsal", "change"}) {
			t.Errorf("%v, %v", a.asked, err)
		}
	})
}

func TestARehearsalThatIsRefusedAheadOfTheMoveIsMadeAgainByTheMove(t *testing.T) {
	a := newAPI(t)
	a.injects = "1-30"
	m := &Mover{Live: a, Writer: a}
	move := rollout.Action{Ref: cart, Method: rollout.ByTemplate, Target: "1-31", Label: true}
	var refusal *Refusal
	if err := m.Ahead(t.Context(), move); !errors.As(err, &refusal) {
		t.Errorf("not refused: %v", err)
	}
	if err := m.Do(t.Context(), move); !errors.As(err, &refusal) || len(a.asked) != 4 {
		t.Errorf("%v after %v", err, a.asked)
	}
}

func TestOnlyMovesThatAreOneChangeOfATemplateAreRehearsedAhead(t *testing.T) {
	a := newAPI(t)
	m := &Mover{Live: a, Writer: a}
	for _, x := range []rollout.Action{
		{Ref: cart, Method: rollout.ByTemplate, Surge: true},
		{Ref: cart, Method: rollout.ByTemplate, Lower: true},
		{Ref: cart, Method: rollout.ByTemplateAndEviction},
		{Ref: cart, Method: rollout.ByClaim},
		{Ref: cart, Method: rollout.ByGatewayLabel},
		{Ref: cart, Method: rollout.ByTemplate, Restore: true},
		{Ref: cart, Method: rollout.ByEviction, Evict: []rollout.Eviction{{Pod: "p"}}},
	} {
		if err := m.Ahead(t.Context(), x); err != nil || len(a.asked) > 0 {
			t.Errorf("%+v: %v, %v", x, a.asked, err)
		}
	}
}
