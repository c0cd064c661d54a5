package routing

import (
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

var from, to = mesh.Revision{Name: "1-30", Deployment: "istiod-1-30"}, mesh.Revision{Name: "1-31", Deployment: "istiod-1-31"}

func injector(r mesh.Revision) *admissionv1.MutatingWebhookConfiguration {
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector-" + r.Name},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "rev.namespace.sidecar-injector.istio.io",
			ClientConfig: admissionv1.WebhookClientConfig{
				Service: &admissionv1.ServiceReference{Namespace: "istio-system", Name: r.Deployment}, CABundle: []byte("ca"),
			},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: r.Name}},
			FailurePolicy:     ptr.To(admissionv1.Fail),
		}},
	}
}

// handedOver is what the API server keeps of a handover and its guards.
func handedOver(t *testing.T, guards []*unstructured.Unstructured) []client.Object {
	t.Helper()
	a, b := injector(from), injector(to)
	desired, err := handover.Desired(handover.Routes{From: from.Name, To: to.Name, FromServices: []string{from.Deployment}, Namespace: "istio-system"},
		[]admissionv1.MutatingWebhookConfiguration{*a, *b}, &b.Webhooks[0])
	if err != nil {
		t.Fatal(err)
	}
	applied := &admissionv1.MutatingWebhookConfiguration{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(desired[0].Object, applied); err != nil {
		t.Fatal(err)
	}
	a.Webhooks[0].MatchConditions = applied.Webhooks[0].MatchConditions
	a.Webhooks = append(a.Webhooks, applied.Webhooks[1])
	out := []client.Object{a, b}
	for _, g := range guards {
		o := emptyPolicy(g.GetKind())
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(g.Object, o); err != nil {
			t.Fatal(err)
		}
		if p, ok := o.(*admissionv1.ValidatingAdmissionPolicy); ok { // defaults, and what others may add
			p.Spec.MatchConstraints.MatchPolicy = ptr.To(admissionv1.Equivalent)
			p.Spec.MatchConstraints.NamespaceSelector = &metav1.LabelSelector{}
			p.Annotations = map[string]string{"note": "of somebody"}
		}
		out = append(out, o)
	}
	return out
}

func cached(objects ...client.Object) client.Client {
	return fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithRESTMapper(testrestmapper.TestOnlyStaticRESTMapper(clientgoscheme.Scheme)).WithObjects(objects...).Build()
}

func TestWhatIsInPlaceIsNeitherReadNorWrittenAgainAndEveryEditIsSeen(t *testing.T) {
	guards := append(handover.Guards(to.Name, []string{"1-30", "1-31"}, true, nil), handover.Claims("u")...)
	edit := func(kind string, f func(o client.Object)) func([]client.Object) []client.Object {
		return func(all []client.Object) []client.Object {
			for _, o := range all {
				if o.GetObjectKind().GroupVersionKind().Kind == kind || kind == "MutatingWebhookConfiguration" && o.GetName() == injector(from).Name {
					f(o)
				}
			}
			return all
		}
	}
	for name, c := range map[string]struct {
		edit func([]client.Object) []client.Object
		kept bool
	}{
		"as it was applied": {func(all []client.Object) []client.Object { return all }, true},
		"an expression of a guard": {edit("ValidatingAdmissionPolicy", func(o client.Object) {
			o.(*admissionv1.ValidatingAdmissionPolicy).Spec.Validations[0].Expression = "true"
		}), false},
		"one more match condition of a guard": {edit("ValidatingAdmissionPolicy", func(o client.Object) {
			s := &o.(*admissionv1.ValidatingAdmissionPolicy).Spec
			s.MatchConditions = append(s.MatchConditions, admissionv1.MatchCondition{Name: "never", Expression: "false"})
		}), false},
		"the label of a guard": {edit("ValidatingAdmissionPolicy", func(o client.Object) { o.SetLabels(nil) }), false},
		"the actions of a binding": {edit("ValidatingAdmissionPolicyBinding", func(o client.Object) {
			o.(*admissionv1.ValidatingAdmissionPolicyBinding).Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Warn}
		}), false},
		"the policy of claims": {edit("MutatingAdmissionPolicy", func(o client.Object) {
			o.(*admissionv1.MutatingAdmissionPolicy).Spec.Mutations = nil
		}), false},
		"a guard is gone": {func(all []client.Object) []client.Object { return append(all[:2:2], all[3:]...) }, false},
		"the condition of the handover": {edit("MutatingWebhookConfiguration", func(o client.Object) {
			o.(*admissionv1.MutatingWebhookConfiguration).Webhooks[0].MatchConditions = nil
		}), false},
		"the twin": {edit("MutatingWebhookConfiguration", func(o client.Object) {
			w := o.(*admissionv1.MutatingWebhookConfiguration)
			w.Webhooks = w.Webhooks[:1]
		}), false},
		"half a handover where none must be": {func(all []client.Object) []client.Object {
			w := injector(mesh.Revision{Name: "other", Deployment: "istiod-other"})
			w.Webhooks[0].MatchConditions = []admissionv1.MatchCondition{{Name: handover.ConditionName, Expression: handover.Condition("1-31")}}
			return append(all, w)
		}, false},
	} {
		f := cached(c.edit(handedOver(t, guards))...)
		r := &Router{Cache: f, Writer: f, Namespace: "istio-system", sure: time.Now()}
		if kept, err := r.Kept(t.Context(), from, to, guards); err != nil || kept != c.kept {
			t.Errorf("%s: kept is %v (%v)", name, kept, err)
		}
	}
}

func TestTheFirstLookIsLiveAndSoIsOneEveryTenMinutes(t *testing.T) {
	f := cached(handedOver(t, nil)...)
	r := &Router{Cache: f, Writer: f, Namespace: "istio-system"}
	for n, want := range []bool{false, true, true} {
		if kept, err := r.Kept(t.Context(), from, to, nil); err != nil || kept != want {
			t.Errorf("look %d: kept is %v (%v)", n, kept, err)
		}
	}
	r.sure = time.Now().Add(-sureAge - time.Second)
	if kept, err := r.Kept(t.Context(), from, to, nil); err != nil || kept {
		t.Errorf("after ten minutes: kept is %v (%v)", kept, err)
	}
}
