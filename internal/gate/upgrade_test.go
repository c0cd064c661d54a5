package gate

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/mesh"
)

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func upgrade(name string, edits ...func(*v1alpha1.ClusterUpgrade)) *v1alpha1.ClusterUpgrade {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"}}
	for _, edit := range edits {
		edit(u)
	}
	return u
}

func stored(age time.Duration) func(*v1alpha1.ClusterUpgrade) {
	return func(u *v1alpha1.ClusterUpgrade) {
		u.ResourceVersion = "1"
		u.CreationTimestamp = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age))
	}
}

func with(c metav1.Condition) func(*v1alpha1.ClusterUpgrade) {
	return func(u *v1alpha1.ClusterUpgrade) { u.Status.Conditions = append(u.Status.Conditions, c) }
}

func isAccepted(u *v1alpha1.ClusterUpgrade) {
	with(condition(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonDone, ""))(u)
	u.Status.From = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}
	u.Status.To = &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
}

func isFinished(u *v1alpha1.ClusterUpgrade) {
	isAccepted(u)
	with(condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDone, ""))(u)
}

func revision(name, version string) mesh.Revision {
	return mesh.Revision{Name: name, Version: version, Deployment: "istiod-" + name, Tag: version, InstalledBy: "Helm"}
}

// inventory has the revisions, each injecting namespaces that are labelled with it.
func inventory(revisions ...mesh.Revision) *mesh.Inventory {
	inv := &mesh.Inventory{IstioNamespace: "istio-system", KubernetesVersion: "v1.35.2", Revisions: revisions, Namespaces: map[string]mesh.Namespace{}}
	for _, r := range revisions {
		inv.Configurations = append(inv.Configurations, mesh.Configuration{
			Name: "istio-sidecar-injector-" + r.Name,
			Webhooks: []mesh.Injector{{
				Name: "rev.namespace", Revision: r.Name,
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: r.Name}},
			}},
		})
	}
	return inv
}

func deployment(namespace, name, rev string) mesh.Workload {
	return mesh.Workload{
		Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: namespace, Name: name}, Role: mesh.Sidecar,
		Pods: []mesh.Pod{{Name: name + "-1", Revision: rev}},
	}
}

// versions supports 1.29 and 1.30 to 1.31 on Kubernetes 1.35.
func versions() catalog.Catalog {
	return catalog.Catalog{
		Releases: []v1alpha1.Release{
			{Version: "1.29", Patch: "1.29.3", Kubernetes: []string{"1.35"}},
			{Version: "1.30", Patch: "1.30.0", Kubernetes: []string{"1.35"}},
			{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.35"}},
		},
		Paths: []v1alpha1.Path{{From: "1.29", To: "1.31"}, {From: "1.30", To: "1.31"}},
	}
}

// check compares the reason, and that the sentence holds every word that the user needs.
func check(t *testing.T, v Verdict, reason string, words ...string) {
	t.Helper()
	if v.Reason != reason || v.Passed() != (reason == "") {
		t.Fatalf("verdict %+v, want reason %q", v, reason)
	}
	for _, w := range words {
		if !strings.Contains(v.Message, w) {
			t.Errorf("the message does not say %q: %s", w, v.Message)
		}
	}
	if strings.HasSuffix(v.Message, ".") || strings.Contains(v.Message, "%!") {
		t.Errorf("not one clean sentence: %s", v.Message)
	}
}

func TestAnUpgradeStartsOnlyWhenItIsClearAndNothingIsInTheWay(t *testing.T) {
	one := inventory(revision("1-30", "1.30.0"))
	two := inventory(revision("1-29", "1.29.3"), revision("1-30", "1.30.0"))
	twoOneUsed := inventory(revision("1-29", "1.29.3"), revision("1-30", "1.30.0"))
	twoOneUsed.Workloads = []mesh.Workload{deployment("shop", "cart", "1-30")}
	twoUsed := inventory(revision("1-29", "1.29.3"), revision("1-30", "1.30.0"))
	twoUsed.Workloads = []mesh.Workload{deployment("shop", "cart", "1-30")}
	twoUsed.Namespaces["old"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: "1-29"}}
	both := inventory(revision("1-30", "1.30.0"), revision("1-31", "1.31.0"))
	oldKubernetes := inventory(revision("1-30", "1.30.0"))
	oldKubernetes.KubernetesVersion = "v1.20.4"
	bothOnOld := inventory(revision("1-30", "1.30.0"), revision("1-31", "1.31.0"))
	bothOnOld.KubernetesVersion = "v1.20.4"

	for name, c := range map[string]struct {
		in     UpgradeInput
		reason string
		words  []string
	}{
		"one revision, nothing else": {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: one}},
		"another is not finished": {
			in:     UpgradeInput{Upgrade: upgrade("b"), Others: []v1alpha1.ClusterUpgrade{*upgrade("a", stored(0))}, Inventory: one},
			reason: v1alpha1.ReasonAnotherUpgrade, words: []string{`"a"`, "1.31", "rollout --back"},
		},
		"another is finished":           {in: UpgradeInput{Upgrade: upgrade("b"), Others: []v1alpha1.ClusterUpgrade{*upgrade("a", stored(0), isFinished)}, Inventory: one}},
		"no istiod":                     {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: inventory()}, reason: v1alpha1.ReasonUnknownRevision, words: []string{"istio-system", "istioNamespace"}},
		"several unused revisions":      {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: two}, reason: v1alpha1.ReasonAmbiguousRevision, words: []string{"1-29, 1-30", "spec.fromRevision"}},
		"several, one of them in use":   {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: twoOneUsed}},
		"two in use, one by its label":  {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: twoUsed}, reason: v1alpha1.ReasonAmbiguousRevision},
		"several, one of them is named": {in: UpgradeInput{Upgrade: upgrade("a", func(u *v1alpha1.ClusterUpgrade) { u.Spec.FromRevision = "1-29" }), Inventory: twoUsed}},
		"an unknown one is named": {
			in:     UpgradeInput{Upgrade: upgrade("a", func(u *v1alpha1.ClusterUpgrade) { u.Spec.FromRevision = "1-28" }), Inventory: two},
			reason: v1alpha1.ReasonUnknownRevision, words: []string{`"1-28"`, "1-29, 1-30"},
		},
		"the old version cannot be read": {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: inventory(revision("1-30", ""))}, reason: v1alpha1.ReasonUnknownVersion, words: []string{"istiod-1-30"}},
		"the catalog has no such path": {
			in:     UpgradeInput{Upgrade: upgrade("a"), Inventory: inventory(revision("1-28", "1.28.1"))},
			reason: v1alpha1.ReasonUnsupportedPath, words: []string{"1.28", "1.31"},
		},
		"the catalog has no such release": {
			in:     UpgradeInput{Upgrade: upgrade("a", func(u *v1alpha1.ClusterUpgrade) { u.Spec.Version = "1.32" }), Inventory: one},
			reason: v1alpha1.ReasonUnknownVersion, words: []string{"1.32"},
		},
		"the path does not run on this Kubernetes": {
			in:     UpgradeInput{Upgrade: upgrade("a"), Inventory: oldKubernetes},
			reason: v1alpha1.ReasonUnsupportedKubernetes, words: []string{"1.35", "1.20", "upgrade Kubernetes first"},
		},
		"both revisions have one name": {
			in:     UpgradeInput{Upgrade: upgrade("a", func(u *v1alpha1.ClusterUpgrade) { u.Spec.Revision, u.Spec.FromRevision = "1-30", "1-30" }), Inventory: one},
			reason: v1alpha1.ReasonRevisionConflict, words: []string{"spec.revision"},
		},
		"the target is somebody else's":                        {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: both}, reason: v1alpha1.ReasonRevisionConflict, words: []string{`"1-31"`, "1.31.0", "Helm"}},
		"the target is ours":                                   {in: UpgradeInput{Upgrade: upgrade("a"), Inventory: both, Ours: func(r mesh.Revision) bool { return r.Name == "1-31" }}},
		"the accepted upgrade goes on when Kubernetes changes": {in: UpgradeInput{Upgrade: upgrade("a", stored(0), isAccepted), Inventory: bothOnOld}},
	} {
		t.Run(name, func(t *testing.T) {
			c.in.Catalog = versions()
			check(t, StartUpgrade(c.in), c.reason, c.words...)
		})
	}
}

func TestOfSeveralUpgradesExactlyOneGoesOn(t *testing.T) {
	a, b := upgrade("a", stored(0)), upgrade("b", stored(time.Hour))
	c, d := upgrade("c", stored(time.Minute), isAccepted), upgrade("d", stored(0))
	for name, set := range map[string][]*v1alpha1.ClusterUpgrade{
		"the oldest": {a, b}, "the accepted one": {b, c}, "one of the same second": {a, d}, "one of four": {a, b, c, d},
	} {
		t.Run(name, func(t *testing.T) {
			var all []v1alpha1.ClusterUpgrade
			for _, u := range set {
				all = append(all, *u)
			}
			var passed []string
			for _, u := range set {
				if noOtherUpgrade(UpgradeInput{Upgrade: u, Others: all}).Passed() {
					passed = append(passed, u.Name)
				}
			}
			if len(passed) != 1 {
				t.Errorf("%v go on, want one", passed)
			}
		})
	}
}

func TestAnUpgradeIsDeletedOnlyWhenNothingDependsOnIt(t *testing.T) {
	both := func() *mesh.Inventory { return inventory(revision("1-30", "1.30.0"), revision("1-31", "1.31.0")) }
	moved := both()
	moved.Workloads = []mesh.Workload{deployment("shop", "cart", "1-31"), deployment("shop", "web", "1-30")}
	loose := both()
	loose.LoosePods = []mesh.LoosePod{{Namespace: "jobs", Pod: mesh.Pod{Name: "nightly-1", Revision: "1-31"}}}
	scaledDown := both()
	scaledDown.Workloads = []mesh.Workload{{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "shop", Name: "cart"}, TemplateLabels: map[string]string{v1alpha1.RevisionLabel: "1-31"}}}
	handed := both()
	handed.Configurations[0].Webhooks[0].Excluded = "1-31"
	handed.Configurations[0].Webhooks = append(handed.Configurations[0].Webhooks, mesh.Injector{Name: "twin", Revision: "1-31", Handover: true})

	for name, c := range map[string]struct {
		upgrade   *v1alpha1.ClusterUpgrade
		inventory *mesh.Inventory
		reason    string
		words     []string
	}{
		"never accepted":                         {upgrade("a"), moved, "", nil},
		"nothing moved":                          {upgrade("a", isAccepted), both(), "", nil},
		"a workload moved":                       {upgrade("a", isAccepted), moved, v1alpha1.ReasonInUse, []string{"1 data plane runs", "shop/Deployment/cart", "meshlift rollout --back"}},
		"a bare pod moved":                       {upgrade("a", isAccepted), loose, v1alpha1.ReasonInUse, []string{"jobs/Pod/nightly-1"}},
		"a handover and nothing moved":           {upgrade("a", isAccepted), handed, "", nil},
		"a workload without pods that was moved": {upgrade("a", isAccepted), scaledDown, v1alpha1.ReasonInUse, []string{"shop/Deployment/cart"}},
		"finished, everything runs on it":        {upgrade("a", isFinished), moved, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, DeleteUpgrade(DeleteInput{c.upgrade, c.inventory}), c.reason, c.words...)
		})
	}
}

func TestTheTargetRevisionIsNamedAfterTheMinorVersion(t *testing.T) {
	for want, spec := range map[string]v1alpha1.ClusterUpgradeSpec{
		"1-31":   {Version: "1.31.2"},
		"canary": {Version: "1.31", Revision: "canary"},
		"":       {Version: "new"},
	} {
		if got := Target(&v1alpha1.ClusterUpgrade{Spec: spec}); got != want {
			t.Errorf("Target(%+v) = %q, want %q", spec, got, want)
		}
	}
}
