package restart

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// The annotation that keeps a strategy belongs to whoever may change the workload.
func TestAStrategyThatCannotBeRestoredIsForgotten(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := appsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, saved := range []string{`{"type":"Sideways"}`, `{"rollingUpdate":7}`, `{`, `[]`, `null`, `"x"`, `{"rollingUpdate":{"maxSurge":-1}}`, "\x00"} {
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = "shop", "gw"
		d.Annotations = map[string]string{v1alpha1.StrategyAnnotation: saved}
		d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
		patched := 0
		c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).WithObjects(d).Build(), interceptor.Funcs{
			Patch: func(ctx context.Context, w client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
				patched++
				if raw, err := p.Data(o); err != nil || strings.Contains(string(raw), `"spec"`) {
					return apierrors.NewInvalid(appsv1.SchemeGroupVersion.WithKind("Deployment").GroupKind(), "gw", nil)
				}
				return w.Patch(ctx, o, p, options...)
			},
		})
		m := &Mover{Live: c, Writer: c}
		a := rollout.Action{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "gw"}, Restore: true}
		if err := m.Do(t.Context(), a); err != nil {
			t.Errorf("%q: %v", saved, err)
		}
		got := &appsv1.Deployment{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(d), got); err != nil {
			t.Fatal(err)
		}
		if got.Annotations[v1alpha1.StrategyAnnotation] != "" || got.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType || patched > 2 {
			t.Errorf("%q: %v, %v after %d patches", saved, got.Annotations, got.Spec.Strategy, patched)
		}
	}
}
