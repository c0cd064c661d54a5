package mesh_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

func expression(key string, op metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
	return metav1.LabelSelectorRequirement{Key: key, Operator: op, Values: values}
}

func selector(e ...metav1.LabelSelectorRequirement) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: e}
}

// injectors are the two entries that Istio's charts render for a revision or a tag.
func injectors(name, revision string) mesh.Configuration {
	c := mesh.Configuration{Name: name, Webhooks: []mesh.Injector{
		{
			Name: "rev.namespace.sidecar-injector.istio.io", Revision: revision,
			NamespaceSelector: selector(expression(mesh.LabelRev, "In", name), expression(mesh.LabelInjection, "DoesNotExist")),
			ObjectSelector:    selector(expression(mesh.LabelInject, "NotIn", "false")),
		},
		{
			Name: "rev.object.sidecar-injector.istio.io", Revision: revision,
			NamespaceSelector: selector(expression(mesh.LabelRev, "DoesNotExist"), expression(mesh.LabelInjection, "DoesNotExist")),
			ObjectSelector:    selector(expression(mesh.LabelInject, "NotIn", "false"), expression(mesh.LabelRev, "In", name)),
		},
	}}
	if name == "default" {
		c.Webhooks = append(c.Webhooks, mesh.Injector{
			Name: "namespace.sidecar-injector.istio.io", Revision: revision,
			NamespaceSelector: selector(expression(mesh.LabelInjection, "In", "enabled")),
			ObjectSelector:    selector(expression(mesh.LabelInject, "NotIn", "false")),
		}, mesh.Injector{
			Name: "object.sidecar-injector.istio.io", Revision: revision,
			NamespaceSelector: selector(expression(mesh.LabelRev, "DoesNotExist"), expression(mesh.LabelInjection, "DoesNotExist")),
			ObjectSelector:    selector(expression(mesh.LabelInject, "In", "true"), expression(mesh.LabelRev, "DoesNotExist")),
		})
	}
	return c
}

func workload(namespace, name string, labels map[string]string, revisions ...string) mesh.Workload {
	w := mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: namespace, Name: name}, Role: mesh.Sidecar, TemplateLabels: labels}
	for n, r := range revisions {
		w.Pods = append(w.Pods, mesh.Pod{Name: fmt.Sprintf("%s-%d", name, n), Revision: r})
	}
	return w
}

func inventory() *mesh.Inventory {
	ns := func(key, value string) mesh.Namespace {
		return mesh.Namespace{Labels: map[string]string{key: value}}
	}
	gateway := workload("open", "web", map[string]string{mesh.LabelRev: "prod"}, "1-31")
	gateway.Kind, gateway.Role = mesh.KindGateway, mesh.IngressGateway
	return &mesh.Inventory{
		Revisions: []mesh.Revision{{Name: "1-30", Tags: []string{"default"}}, {Name: "1-31", Tags: []string{"prod"}}},
		Configurations: []mesh.Configuration{
			injectors("1-30", "1-30"), injectors("1-31", "1-31"), injectors("default", "1-30"), injectors("prod", "1-31"),
		},
		Validators: []mesh.Validator{{Name: "istio-validator-1-31-istio-system", Revision: "1-31"}, {Name: "istiod-default-validator", Revision: "1-30", Default: true}},
		Namespaces: map[string]mesh.Namespace{
			"by-rev": ns(mesh.LabelRev, "1-30"), "by-tag": ns(mesh.LabelRev, "prod"), "by-default": ns(mesh.LabelInjection, "enabled"),
			"off": ns(mesh.LabelInjection, "disabled"), "lost": ns(mesh.LabelRev, "1-29"), "open": {},
			"both": {Labels: map[string]string{mesh.LabelInjection: "enabled", mesh.LabelRev: "1-31"}},
		},
		Workloads: []mesh.Workload{
			workload("by-rev", "a", nil, "1-30", "1-30"), workload("by-rev", "b", map[string]string{mesh.LabelRev: "1-31"}, "1-30", "1-31"),
			gateway,
			workload("open", "asks", map[string]string{mesh.LabelInject: "true"}), workload("open", "pins", map[string]string{mesh.LabelRev: "1-31"}, ""),
			workload("open", "pins-nothing", map[string]string{mesh.LabelRev: "1-29"}),
		},
		LoosePods: []mesh.LoosePod{{Pod: mesh.Pod{Name: "job-x", Revision: "1-30"}, Namespace: "by-rev", Owner: "Job/job"}},
	}
}

func TestUsesSayWhoUsesARevisionAndWhy(t *testing.T) {
	want := map[string][]v1alpha1.RevisionUse{
		"1-30": {
			{Why: "tag points to it", Count: 1, Examples: []string{"default"}},
			{Why: "validates configuration that names no revision", Count: 1, Examples: []string{"istiod-default-validator"}},
			{Why: "sidecars run with it", Count: 2, Examples: []string{"by-rev/Deployment/a", "by-rev/Deployment/b"}},
			{Why: "pods outside the workloads that Meshlift drives run with it", Count: 1, Examples: []string{"by-rev/Pod/job-x"}},
			{Why: "namespace label istio-injection=enabled", Count: 2, Examples: []string{"both", "by-default"}},
			{Why: "namespace label istio.io/rev=1-30", Count: 1, Examples: []string{"by-rev"}},
			{Why: "pod label sidecar.istio.io/inject=true", Count: 1, Examples: []string{"open/Deployment/asks"}},
		},
		"1-31": {
			{Why: "tag points to it", Count: 1, Examples: []string{"prod"}},
			{Why: "sidecars run with it", Count: 1, Examples: []string{"by-rev/Deployment/b"}},
			{Why: "gateways run with it", Count: 1, Examples: []string{"open/Gateway/web"}},
			{Why: "namespace label istio.io/rev=prod", Count: 1, Examples: []string{"by-tag"}},
			{Why: "Gateway label istio.io/rev=prod", Count: 1, Examples: []string{"open/Gateway/web"}},
			{Why: "pod label istio.io/rev=1-31", Count: 1, Examples: []string{"open/Deployment/pins"}},
		},
	}
	if diff := cmp.Diff(want, mesh.Uses(inventory())); diff != "" {
		t.Errorf("the uses differ (-want +got):\n%s", diff)
	}
}

func TestUsesKeepTheBoundsOfTheAPIAndDoNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inv := &mesh.Inventory{Namespaces: map[string]mesh.Namespace{}}
		tags := rapid.IntRange(0, 30).Draw(t, "tags")
		r := mesh.Revision{Name: "1-30"}
		for n := range tags {
			tag := fmt.Sprintf("tag-%02d", n)
			r.Tags = append(r.Tags, tag)
			inv.Configurations = append(inv.Configurations, injectors(tag, "1-30"))
			inv.Namespaces[fmt.Sprintf("ns-%02d", n)] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: tag}}
		}
		inv.Revisions = []mesh.Revision{r}
		live := rapid.IntRange(0, 12).Draw(t, "workloads")
		for n := range live {
			inv.Workloads = append(inv.Workloads, workload("shop", fmt.Sprintf("w-%02d", n), nil, "1-30"))
		}
		got := mesh.Uses(inv)
		if len(got["1-30"]) > 20 {
			t.Errorf("%d reasons, want at most 20", len(got["1-30"]))
		}
		for _, u := range got["1-30"] {
			if len(u.Examples) > 5 || int32(len(u.Examples)) > u.Count || !slices.IsSorted(u.Examples) {
				t.Errorf("%q has examples %v of %d", u.Why, u.Examples, u.Count)
			}
			if u.Why == "tag points to it" && u.Count != int32(tags) {
				t.Errorf("%d tags are counted as %d", tags, u.Count)
			}
		}
		inv.Workloads = rapid.Permutation(inv.Workloads).Draw(t, "order")
		if diff := cmp.Diff(got, mesh.Uses(inv)); diff != "" {
			t.Errorf("another order of workloads gives other uses (-want +got):\n%s", diff)
		}
	})
}
