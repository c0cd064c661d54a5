package handover

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func service(name string) admissionv1.WebhookClientConfig {
	path := "/inject"
	return admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "istio-system", Name: name, Path: &path}, CABundle: []byte("ca of " + name)}
}

func in(key string, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
}

func absent(key string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}
}

func not(key, value string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpNotIn, Values: []string{value}}
}

func hook(name, svc string, ns, object []metav1.LabelSelectorRequirement) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: name, ClientConfig: service(svc), AdmissionReviewVersions: []string{"v1"},
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: ns}, ObjectSelector: &metav1.LabelSelector{MatchExpressions: object},
	}
}

// injector has the two entries that the istiod chart renders for a revision.
func injector(config, value, svc string) admissionv1.MutatingWebhookConfiguration {
	return admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: config},
		Webhooks: []admissionv1.MutatingWebhook{
			hook("rev.namespace.sidecar-injector.istio.io", svc,
				[]metav1.LabelSelectorRequirement{in("istio.io/rev", value), absent("istio-injection")},
				[]metav1.LabelSelectorRequirement{not("sidecar.istio.io/inject", "false")}),
			hook("rev.object.sidecar-injector.istio.io", svc,
				[]metav1.LabelSelectorRequirement{absent("istio.io/rev"), absent("istio-injection")},
				[]metav1.LabelSelectorRequirement{not("sidecar.istio.io/inject", "false"), in("istio.io/rev", value)}),
		},
	}
}

var routes = Routes{From: "1-30", To: "1-31", FromServices: []string{"istiod-1-30"}, Namespace: "istio-system"}

func mesh() []admissionv1.MutatingWebhookConfiguration {
	return []admissionv1.MutatingWebhookConfiguration{
		injector("istio-revision-tag-prod", "prod", "istiod-1-30"),
		injector("istio-revision-tag-next", "next", "istiod-1-31"),
		injector("istio-sidecar-injector-1-30", "1-30", "istiod-1-30"),
		injector("istio-sidecar-injector-1-31", "1-31", "istiod-1-31"),
	}
}

// merged is what the API server makes of the configuration and our server-side apply: a map keyed by webhook name
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy).
func merged(t interface{ Fatal(...any) }, configurations []admissionv1.MutatingWebhookConfiguration) []admissionv1.MutatingWebhookConfiguration {
	target := &configurations[3].Webhooks[0]
	applies, err := Desired(routes, configurations, target)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]admissionv1.MutatingWebhookConfiguration, len(configurations))
	for n := range configurations {
		c, _ := Strip(&configurations[n])
		for _, a := range applies {
			if a.GetName() != c.Name {
				continue
			}
			var applied admissionv1.MutatingWebhookConfiguration
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(a.Object, &applied); err != nil {
				t.Fatal(err)
			}
			for _, w := range applied.Webhooks {
				at := slices.IndexFunc(c.Webhooks, func(h admissionv1.MutatingWebhook) bool { return h.Name == w.Name })
				if at < 0 {
					c.Webhooks = append(c.Webhooks, w)
				} else {
					c.Webhooks[at].MatchConditions = append(c.Webhooks[at].MatchConditions, w.MatchConditions...)
				}
			}
		}
		out[n] = *c
	}
	return out
}

// injectedBy evaluates admission as the API server does, with the one condition form that a handover writes.
func injectedBy(configurations []admissionv1.MutatingWebhookConfiguration, ns, pod labels.Set) []string {
	var out []string
	for _, c := range configurations {
		for _, w := range c.Webhooks {
			nsSel, _ := metav1.LabelSelectorAsSelector(w.NamespaceSelector)
			podSel, _ := metav1.LabelSelectorAsSelector(w.ObjectSelector)
			ok := nsSel.Matches(ns) && podSel.Matches(pod)
			for _, m := range w.MatchConditions {
				if rev, known := ParseCondition(m.Expression); known && pod[v1alpha1.RevisionLabel] == rev {
					ok = false
				}
			}
			if ok {
				out = append(out, w.ClientConfig.Service.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// rewritten is the cluster after a handover by object selectors.
func rewritten(t interface{ Fatal(...any) }, configurations []admissionv1.MutatingWebhookConfiguration) []admissionv1.MutatingWebhookConfiguration {
	var out []admissionv1.MutatingWebhookConfiguration
	for n := range configurations {
		c, _, err := Rewrite(routes, &configurations[n], &configurations[3].Webhooks[0])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *c)
	}
	return out
}

func TestEveryPodThatTheOldRevisionInjectedIsInjectedByExactlyOneRevisionDuringAHandover(t *testing.T) {
	t.Run("by match conditions", func(t *testing.T) { exactlyOne(t, mesh(), merged(t, mesh())) })
	t.Run("by object selectors", func(t *testing.T) { exactlyOne(t, mesh(), rewritten(t, mesh())) })
}

func TestRewritingTwiceIsRewritingOnceAndStripUndoesIt(t *testing.T) {
	before := mesh()
	once := rewritten(t, before)
	for n, twice := range rewritten(t, once) {
		if !Same(&once[n], &twice) {
			t.Errorf("%s changes when it is rewritten again", twice.Name)
		}
		if handedOver := n == 0 || n == 2; Same(&before[n], &once[n]) == handedOver || Residue(&once[n]) != handedOver {
			t.Errorf("%s: rewritten is %v, want %v", twice.Name, !handedOver, handedOver)
		}
		stripped, _ := Strip(&twice)
		if !Same(&before[n], stripped) {
			t.Errorf("%s is not as before after the handover: %s", twice.Name, cmp.Diff(before[n], *stripped))
		}
	}
}

func TestTheModeFollowsTheVersionOfKubernetes(t *testing.T) {
	for minor, want := range map[int]Mode{27: ObjectSelectors, 29: ObjectSelectors, 30: MatchConditions, 37: MatchConditions} {
		if got := ModeFor(1, minor); got != want {
			t.Errorf("Kubernetes 1.%d: %s", minor, got)
		}
	}
}

func exactlyOne(t *testing.T, before, during []admissionv1.MutatingWebhookConfiguration) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		value := func(name string, options ...string) func(labels.Set, string) {
			v := rapid.SampledFrom(append(options, "")).Draw(t, name)
			return func(s labels.Set, key string) {
				if v != "" {
					s[key] = v
				}
			}
		}
		ns, pod := labels.Set{}, labels.Set{}
		value("ns rev", "1-30", "1-31", "prod", "next", "nosuch")(ns, "istio.io/rev")
		value("ns injection", "enabled", "disabled")(ns, "istio-injection")
		value("pod rev", "1-30", "1-31", "prod", "next")(pod, "istio.io/rev")
		value("pod inject", "true", "false")(pod, "sidecar.istio.io/inject")

		was, now := injectedBy(before, ns, pod), injectedBy(during, ns, pod)
		if diff := cmp.Diff(was, now); diff != "" {
			t.Fatalf("a pod that was not moved changed its revision: %s", diff)
		}
		pod[v1alpha1.RevisionLabel] = "1-31"
		moved := injectedBy(during, ns, pod)
		if len(was) != len(moved) {
			t.Fatalf("namespace %v, pod %v: injected by %v before and by %v after the move", ns, pod, was, moved)
		}
		for _, by := range moved {
			if by != "istiod-1-31" {
				t.Fatalf("namespace %v, moved pod %v: injected by %s", ns, pod, by)
			}
		}
	})
}

func TestDesiredIsDerivedFromTheEntriesOfTheOldRevisionAndNeverFromItsOwnTwins(t *testing.T) {
	before := mesh()
	once, err := Desired(routes, before, &before[3].Webhooks[0])
	if err != nil {
		t.Fatal(err)
	}
	during := merged(t, before)
	twice, err := Desired(routes, during, &during[3].Webhooks[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(once, twice); diff != "" {
		t.Errorf("a second look changes what is wanted: %s", diff)
	}
	var names []string
	for _, a := range once {
		names = append(names, a.GetName())
	}
	if diff := cmp.Diff([]string{"istio-revision-tag-prod", "istio-sidecar-injector-1-30"}, names); diff != "" {
		t.Errorf("handed over configurations: %s", diff)
	}
}

func TestAConfigurationIsEstablishedOnlyWhenItHoldsTheWholeHandover(t *testing.T) {
	before := mesh()
	applies, err := Desired(routes, before, &before[3].Webhooks[0])
	if err != nil {
		t.Fatal(err)
	}
	during := merged(t, before)
	if Established(&before[0], applies[0]) {
		t.Error("an untouched configuration counts as established")
	}
	if !Established(&during[0], applies[0]) {
		t.Error("a complete handover does not count as established")
	}
	for name, spoil := range map[string]func(c *admissionv1.MutatingWebhookConfiguration){
		"a condition is gone":  func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[1].MatchConditions = nil },
		"a twin is gone":       func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = c.Webhooks[:3] },
		"a twin has an old CA": func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[2].ClientConfig.CABundle = []byte("x") },
		"a twin has no label":  func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[3].ObjectSelector = nil },
		"a twin too many": func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks = append(c.Webhooks, admissionv1.MutatingWebhook{Name: "old" + TwinSuffix})
		},
	} {
		c := during[0].DeepCopy()
		spoil(c)
		if Established(c, applies[0]) {
			t.Errorf("%s, and the handover still counts as established", name)
		}
	}
}

func TestStripTakesAwayExactlyTheHandover(t *testing.T) {
	before := mesh()
	for n, c := range merged(t, before) {
		if got := Residue(&c); got != (n == 0 || n == 2) {
			t.Errorf("Residue(%s) = %v", c.Name, got)
		}
		stripped, _ := Strip(&c)
		if diff := cmp.Diff(&before[n], stripped, cmp.Comparer(func(a, b []admissionv1.MatchCondition) bool { return len(a) == 0 && len(b) == 0 || slices.Equal(a, b) })); diff != "" {
			t.Errorf("%s: %s", c.Name, diff)
		}
	}
}

func TestAUsersOwnMatchConditionsHoldForTheTwinToo(t *testing.T) {
	c := mesh()
	own := admissionv1.MatchCondition{Name: "mine", Expression: "request.userInfo.username != 'robot'"}
	c[2].Webhooks[0].MatchConditions = []admissionv1.MatchCondition{own}
	for _, w := range merged(t, c)[2].Webhooks {
		if w.Name == TwinName("rev.namespace.sidecar-injector.istio.io") && !slices.Contains(w.MatchConditions, own) {
			t.Errorf("the twin lost the condition %v", own)
		}
	}
}

func TestAHandoverNeedsTheCABundleOfTheNewRevision(t *testing.T) {
	c := mesh()
	c[3].Webhooks[0].ClientConfig.CABundle = nil
	if _, err := Desired(routes, c, &c[3].Webhooks[0]); err == nil {
		t.Error("a twin without a CA bundle would refuse every moved pod, and is accepted")
	}
}

func TestConditionsAreReadBackAndNothingElseIs(t *testing.T) {
	if rev, ok := ParseCondition(Condition("1-31")); !ok || rev != "1-31" {
		t.Errorf("ParseCondition(Condition) = %q, %v", rev, ok)
	}
	for _, e := range []string{"", "true", Condition("1-31") + " || true", fmt.Sprintf("object.metadata.labels['%s'] == 'x')", v1alpha1.RevisionLabel)} {
		if rev, ok := ParseCondition(e); ok {
			t.Errorf("ParseCondition(%q) = %q", e, rev)
		}
	}
}

func FuzzParseCondition(f *testing.F) {
	f.Add(Condition("1-31"))
	f.Fuzz(func(t *testing.T, s string) {
		if rev, ok := ParseCondition(s); ok && Condition(rev) != s {
			t.Errorf("%q is taken for the condition of %q", s, rev)
		}
	})
}
