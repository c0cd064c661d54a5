package observe

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
)

// decisions are tables measured on real istiods 1.18 to 1.31: rows are namespace labels, columns pod labels (the last one
// is an annotation), "." means not injected.
var decisions = map[string]struct {
	charts []string
	table  string
}{
	"a default tag": {
		[]string{"istiod-1-30 is default", "istiod-1-31 is prod"}, `
ns \ pod                                       -       inject=true inject=false rev=1-31 rev=1-30 rev=prod inject=true,rev=1-31 inject=false,rev=1-31 @inject=false
-                                              .       1-30        .            1-31     1-30     1-31     1-31                 .                     .
istio-injection=enabled                        1-30    1-30        .            1-30     1-30     1-30     1-30                 .                     .
istio-injection=disabled                       .       .           .            .        .        .        .                    .                     .
istio.io/rev=1-30                              1-30    1-30        .            1-30     1-30     1-30     1-30                 .                     .
istio.io/rev=1-31                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=prod                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=default                           1-30    1-30        .            1-30     1-30     1-30     1-30                 .                     .
istio-injection=enabled,istio.io/rev=1-31      1-30    1-30        .            1-30     1-30     1-30     1-30                 .                     .
istio-injection=disabled,istio.io/rev=1-31     .       .           .            .        .        .        .                    .                     .
istio.io/rev=nosuch                            .       .           .            .        .        .        .                    .                     .`,
	},
	"no default": {
		[]string{"istiod-1-30", "istiod-1-31 is prod"}, `
ns \ pod                                       -       inject=true inject=false rev=1-31 rev=1-30 rev=prod inject=true,rev=1-31 inject=false,rev=1-31 @inject=false
-                                              .       .           .            1-31     1-30     1-31     1-31                 .                     .
istio-injection=enabled                        .       .           .            .        .        .        .                    .                     .
istio-injection=disabled                       .       .           .            .        .        .        .                    .                     .
istio.io/rev=1-30                              1-30    1-30        .            1-30     1-30     1-30     1-30                 .                     .
istio.io/rev=1-31                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=prod                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=default                           .       .           .            .        .        .        .                    .                     .
istio-injection=enabled,istio.io/rev=1-31      .       .           .            .        .        .        .                    .                     .
istio-injection=disabled,istio.io/rev=1-31     .       .           .            .        .        .        .                    .                     .
istio.io/rev=nosuch                            .       .           .            .        .        .        .                    .                     .`,
	},
	"an un-revisioned istiod": {
		[]string{"istiod", "istiod-1-31 is prod"}, `
ns \ pod                                       -       inject=true inject=false rev=1-31 rev=1-30 rev=prod inject=true,rev=1-31 inject=false,rev=1-31 @inject=false
-                                              .       default     .            1-31     .        1-31     1-31                 .                     .
istio-injection=enabled                        default default     .            default  default  default  default              .                     .
istio-injection=disabled                       .       .           .            .        .        .        .                    .                     .
istio.io/rev=1-30                              .       .           .            .        .        .        .                    .                     .
istio.io/rev=1-31                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=prod                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=default                           default default     .            default  default  default  default              .                     .
istio-injection=enabled,istio.io/rev=1-31      default default     .            default  default  default  default              .                     .
istio-injection=disabled,istio.io/rev=1-31     .       .           .            .        .        .        .                    .                     .
istio.io/rev=nosuch                            .       .           .            .        .        .        .                    .                     .`,
	},
	"injection by default": {
		[]string{"istiod-1-31 by default"}, `
ns \ pod                                       -       inject=true inject=false rev=1-31 rev=1-30 rev=prod inject=true,rev=1-31 inject=false,rev=1-31 @inject=false
-                                              1-31    1-31        .            1-31     .        .        1-31                 .                     .
istio-injection=enabled                        1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio-injection=disabled                       .       .           .            .        .        .        .                    .                     .
istio.io/rev=1-31                              1-31    1-31        .            1-31     1-31     1-31     1-31                 .                     .
istio.io/rev=nosuch                            .       .           .            .        .        .        .                    .                     .`,
	},
}

// cell is one field of a decision table.
type cell struct {
	facts mesh.PodFacts
	want  string // "" for not injected
	name  string
}

func cells(t *testing.T, table string) []cell {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(table), "\n")
	header := strings.Fields(lines[0])[3:]
	var out []cell
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) != len(header)+1 {
			t.Fatalf("a line has %d fields, want %d: %s", len(f), len(header)+1, line)
		}
		for n, column := range header {
			facts := mesh.PodFacts{Namespace: "shop", NamespaceLabels: pairs(f[0])}
			if annotation, ok := strings.CutPrefix(column, "@"); ok {
				facts.Annotations = podPairs(annotation)
			} else {
				facts.Labels = podPairs(column)
			}
			out = append(out, cell{facts, strings.TrimPrefix(f[n+1], "."), "namespace " + f[0] + " pod " + column})
		}
	}
	return out
}

func pairs(text string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			out[key] = value
		}
	}
	return out
}

func podPairs(text string) map[string]string {
	out := map[string]string{}
	for key, value := range pairs(text) {
		out[map[string]string{"inject": mesh.LabelInject, "rev": mesh.LabelRev}[key]] = value
	}
	return out
}

// charted returns the objects of rendered charts, with an istiod Deployment for each of their Services.
func charted(t *testing.T, charts ...string) objects {
	t.Helper()
	text, err := os.ReadFile("testdata/webhooks.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]map[string]any{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	in := objects{istioNamespace: "istio-system"}
	for _, chart := range charts {
		if all[chart] == nil {
			t.Fatalf("no chart %q in the test data", chart)
		}
		for _, o := range all[chart] {
			switch o["kind"] {
			case "MutatingWebhookConfiguration":
				in.mutating = append(in.mutating, converted[admissionv1.MutatingWebhookConfiguration](t, o))
			case "ValidatingWebhookConfiguration":
				in.validating = append(in.validating, converted[admissionv1.ValidatingWebhookConfiguration](t, o))
			case "Service":
				s := converted[corev1.Service](t, o)
				in.services = append(in.services, s)
				if !strings.Contains(s.Name, "tag") {
					in.deployments = append(in.deployments, istiod(s))
				}
			}
		}
	}
	return in
}

func converted[T any](t *testing.T, o map[string]any) T {
	t.Helper()
	var out T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// istiod is the Deployment behind a Service of the chart.
func istiod(s corev1.Service) appsv1.Deployment {
	d := appsv1.Deployment{}
	d.Name, d.Namespace = s.Name, s.Namespace
	d.Labels = map[string]string{"app": "istiod", mesh.LabelRev: s.Labels[mesh.LabelRev]}
	d.Spec.Template.Labels = map[string]string{"app": "istiod", mesh.LabelRev: s.Labels[mesh.LabelRev], mesh.LabelInject: "false"}
	for key, value := range s.Spec.Selector {
		d.Spec.Template.Labels[key] = value
	}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "discovery", Image: "docker.io/istio/pilot:1.31.0"}}
	return d
}

func TestInjectionFollowsTheMeasuredDecisionTable(t *testing.T) {
	for name, d := range decisions {
		inv := build(charted(t, d.charts...))
		for _, c := range cells(t, d.table) {
			if got := strings.Join(inv.InjectedBy(c.facts), " and "); got != c.want {
				t.Errorf("with %s: %s is injected by %q, want %q", name, c.name, got, c.want)
			}
			host := c.facts
			host.HostNetwork = true
			if got := inv.InjectedBy(host); len(got) > 0 {
				t.Errorf("with %s: %s on the host network is injected by %v", name, c.name, got)
			}
			system := c.facts
			system.Namespace = "kube-system"
			if got := inv.InjectedBy(system); len(got) > 0 {
				t.Errorf("with %s: %s in kube-system is injected by %v", name, c.name, got)
			}
		}
	}
}

// handedOver writes a handover into configurations the way the API server merges its server-side apply.
func handedOver(t *testing.T, in objects, from, to string) objects {
	t.Helper()
	target := &admissionv1.MutatingWebhook{ClientConfig: admissionv1.WebhookClientConfig{
		Service: &admissionv1.ServiceReference{Namespace: in.istioNamespace, Name: "istiod-" + to}, CABundle: []byte("ca"),
	}}
	routes := handover.Routes{From: from, To: to, FromServices: []string{"istiod-" + from, "istiod"}, Namespace: in.istioNamespace}
	applied, err := handover.Desired(routes, in.mutating, target)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range applied {
		patch := converted[admissionv1.MutatingWebhookConfiguration](t, a.Object)
		for n := range in.mutating {
			if c := &in.mutating[n]; c.Name == patch.Name {
				c.Webhooks = merged(c.Webhooks, patch.Webhooks)
			}
		}
	}
	return in
}

func merged(have, patch []admissionv1.MutatingWebhook) []admissionv1.MutatingWebhook {
	for _, p := range patch {
		n := slices.IndexFunc(have, func(w admissionv1.MutatingWebhook) bool { return w.Name == p.Name })
		if n < 0 {
			have = append(have, p)
			continue
		}
		have[n].MatchConditions = append(have[n].MatchConditions, p.MatchConditions...)
	}
	return have
}

func TestAHandoverMovesExactlyTheLabelledPodsOfTheOldRevision(t *testing.T) {
	for _, name := range []string{"a default tag", "no default", "an un-revisioned istiod"} {
		d, from := decisions[name], "1-30"
		if name == "an un-revisioned istiod" {
			from = "default"
		}
		in := handedOver(t, charted(t, d.charts...), from, "1-31")
		inv := build(in)
		twins, excluded := 0, 0
		for _, c := range inv.Configurations {
			for _, w := range c.Webhooks {
				if w.Handover {
					twins++
				}
				if w.Excluded == "1-31" {
					excluded++
				}
			}
		}
		if twins == 0 || twins != excluded {
			t.Errorf("with %s: %d twins and %d excluding entries are seen, want as many of each", name, twins, excluded)
		}
		for _, c := range cells(t, d.table) {
			if got := strings.Join(inv.InjectedBy(c.facts), " and "); got != c.want {
				t.Errorf("with %s: %s, not moved, is injected by %q, want %q", name, c.name, got, c.want)
			}
			moved := c.facts
			moved.Labels = map[string]string{v1alpha1.RevisionLabel: "1-31"}
			for key, value := range c.facts.Labels {
				moved.Labels[key] = value
			}
			want := c.want
			if want == from {
				want = "1-31"
			}
			if got := strings.Join(inv.InjectedBy(moved), " and "); got != want {
				t.Errorf("with %s: %s, moved, is injected by %q, want %q", name, c.name, got, want)
			}
		}
	}
}

func TestTagsPointToTheirRevisionBeforeAndDuringAHandover(t *testing.T) {
	in := charted(t, "istiod-1-30 is default", "istiod-1-31 is prod")
	want := map[string][]string{"1-30": {"default"}, "1-31": {"prod"}}
	for what, in := range map[string]objects{"before": in, "during": handedOver(t, in, "1-30", "1-31")} {
		got := map[string][]string{}
		for _, r := range build(in).Revisions {
			got[r.Name] = r.Tags
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s a handover the tags differ (-want +got):\n%s", what, diff)
		}
	}
}
