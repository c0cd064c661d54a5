package catalog_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/version"
)

var update = flag.Bool("update", false, "write the golden file")

func TestTheEmbeddedCatalogIsSound(t *testing.T) {
	c := catalog.Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Paths {
		full, refusal := c.Resolve(p.To)
		if refusal != nil {
			t.Errorf("path %s to %s: %s", p.From, p.To, refusal.Message)
		}
		if m, err := version.ParseMinor(full); err != nil || m.String() != p.To || !version.IsFull(full) {
			t.Errorf("path %s to %s resolves to %q", p.From, p.To, full)
		}
		allowed := 0
		for minor := 20; minor < 45; minor++ {
			if c.Check(p.From, p.To, fmt.Sprintf("v1.%d.3", minor)) == nil {
				allowed++
			}
		}
		if allowed == 0 {
			t.Errorf("path %s to %s is allowed nowhere", p.From, p.To)
		}
	}
}

func TestOnlySupportedUpgradesAreAllowed(t *testing.T) {
	c := catalog.Default()
	for _, test := range []struct {
		name, from, to, kubernetes, reason string
	}{
		{"the mission's long jump on the Kubernetes it needs", "1.18.7", "1.22", "v1.27.16", ""},
		{"the long jump on a Kubernetes that only Istio 1.18 supports", "1.18", "1.22", "1.26", v1alpha1.ReasonUnsupportedKubernetes},
		{"the long jump on a Kubernetes that only Istio 1.22 supports", "1.18", "1.22", "1.28", v1alpha1.ReasonUnsupportedKubernetes},
		{"two minors up on the first of two", "1.20.8", "1.22.8", "1.27", ""},
		{"two minors up on the second of two", "1.20", "1.22", "v1.28.9-eks-1234", ""},
		{"two minors up where both releases run but the path does not", "1.20", "1.22", "1.29", v1alpha1.ReasonUnsupportedKubernetes},
		{"patch versions and variants never matter", "1.30.3-distroless", "v1.31.1", "1.36+", ""},
		{"one minor up on a Kubernetes that only the new one supports", "1.30", "1.31", "1.37", v1alpha1.ReasonUnsupportedKubernetes},
		{"one minor up on a Kubernetes that only the old one supported", "1.29", "1.30", "1.31", v1alpha1.ReasonUnsupportedKubernetes},
		{"three minors at once", "1.28", "1.31", "1.34", v1alpha1.ReasonUnsupportedPath},
		{"the same version", "1.31.0", "1.31.1", "1.36", v1alpha1.ReasonUnsupportedPath},
		{"downwards", "1.31", "1.30", "1.36", v1alpha1.ReasonUnsupportedPath},
		{"an unknown target", "1.31", "1.99", "1.36", v1alpha1.ReasonUnknownVersion},
		{"an old version that has no path", "1.17", "1.31", "1.36", v1alpha1.ReasonUnsupportedPath},
		{"nonsense as target", "1.31", "latest", "1.36", v1alpha1.ReasonUnknownVersion},
		{"nonsense as source", "", "1.31", "1.36", v1alpha1.ReasonUnknownVersion},
		{"nonsense as Kubernetes", "1.30", "1.31", "?", v1alpha1.ReasonUnsupportedKubernetes},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if r := c.Check(test.from, test.to, test.kubernetes); r != nil {
				got = r.Reason
			}
			if got != test.reason {
				t.Errorf("Check(%q, %q, %q) = %q, want %q", test.from, test.to, test.kubernetes, got, test.reason)
			}
		})
	}
}

func TestARefusalSaysWhatIsInTheWayAndWhatToDo(t *testing.T) {
	c := catalog.Default()
	var out strings.Builder
	for _, q := range [][3]string{
		{"1.20", "1.22", "1.26"},
		{"1.18", "1.22", "1.28"},
		{"1.30", "1.31", "1.37"},
		{"1.30", "1.31", "1.31"},
		{"1.18", "1.31", "1.27"},
		{"1.26", "1.31", "1.33"},
		{"1.24", "1.30", "1.31"},
		{"1.31", "1.30", "1.36"},
		{"1.30", "1.30.9", "1.36"},
		{"1.30", "2.0", "1.36"},
		{"1.30", "newest", "1.36"},
		{"main", "1.31", "1.36"},
		{"1.30", "1.31", ""},
	} {
		r := c.Check(q[0], q[1], q[2])
		if r == nil {
			t.Fatalf("%v is supported", q)
		}
		fmt.Fprintf(&out, "%s -> %s on %s\n  %s: %s\n", q[0], q[1], q[2], r.Reason, r.Message)
	}
	golden(t, "refusals.txt", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run with -update if this is meant:\n%s", diff)
	}
}

func TestTargetsAreWhatCheckAllows(t *testing.T) {
	c := catalog.Default()
	rapid.Check(t, func(t *rapid.T) {
		from := fmt.Sprintf("1.%d", rapid.IntRange(15, 33).Draw(t, "from"))
		kubernetes := fmt.Sprintf("1.%d", rapid.IntRange(22, 40).Draw(t, "kubernetes"))
		targets := c.Targets(from, kubernetes)
		for minor := 15; minor < 35; minor++ {
			to := fmt.Sprintf("1.%d", minor)
			allowed := c.Check(from, to, kubernetes) == nil
			offered := strings.Contains(" "+strings.Join(targets, " ")+" ", " "+to+" ")
			if allowed != offered {
				t.Fatalf("%s to %s on %s: Check allows %v, Targets %v", from, to, kubernetes, allowed, targets)
			}
		}
	})
}

func TestVersionsResolve(t *testing.T) {
	c := catalog.Default().Merge(&v1alpha1.CatalogSpec{Releases: []v1alpha1.Release{
		{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}},
		{Version: "1.32", Kubernetes: []string{"1.37"}},
	}})
	for asked, want := range map[string]string{
		"1.31": "1.31.0", "v1.31": "1.31.0", "1.31.7": "1.31.7", "v1.22.1": "1.22.1", "1.31.0-alpha.1": "1.31.0-alpha.1",
		"1.32": "", "1.33": "", "1.33.1": "", "": "", "latest": "",
	} {
		full, refusal := c.Resolve(asked)
		if full != want || (refusal == nil) != (want != "") {
			t.Errorf("Resolve(%q) = %q, %v; want %q", asked, full, refusal, want)
		}
	}
}

func TestAnObjectOverridesWhatItNamesAndNothingElse(t *testing.T) {
	base := catalog.Default()
	before := catalog.Default()
	spec := &v1alpha1.CatalogSpec{
		ChartRepository: "oci://registry.example/istio",
		Releases:        []v1alpha1.Release{{Version: "1.99", Patch: "1.99.1", Kubernetes: []string{"1.50"}}},
		Paths:           []v1alpha1.Path{{From: "1.30", To: "1.31", Kubernetes: []string{"1.37"}}, {From: "1.31", To: "1.99"}},
	}
	got := base.Merge(spec)
	if err := got.Validate(); err == nil {
		t.Error("1.31 and 1.99 share no Kubernetes version: this must not be valid")
	}
	if r := got.Check("1.30", "1.31", "1.37"); r != nil {
		t.Error(r.Message)
	}
	if got.Check("1.30", "1.31", "1.36") == nil {
		t.Error("the path's list is replaced whole")
	}
	if r := got.Check("1.29", "1.30", "1.33"); r != nil {
		t.Errorf("other paths must stay: %s", r.Message)
	}
	if got.ChartRepository != "oci://registry.example/istio" || base.ChartRepository == got.ChartRepository {
		t.Errorf("chart repository is %q and was %q", got.ChartRepository, base.ChartRepository)
	}
	if diff := cmp.Diff(before, base); diff != "" {
		t.Errorf("Merge changed its receiver:\n%s", diff)
	}
	if diff := cmp.Diff(base, base.Merge(nil)); diff != "" {
		t.Error(diff)
	}
}

func spec(t *rapid.T) *v1alpha1.CatalogSpec {
	minor := func(label string) string { return fmt.Sprintf("1.%d", rapid.IntRange(18, 34).Draw(t, label)) }
	out := &v1alpha1.CatalogSpec{ChartRepository: rapid.SampledFrom([]string{"", "https://charts.example"}).Draw(t, "repository")}
	for range rapid.IntRange(0, 4).Draw(t, "releases") {
		out.Releases = append(out.Releases, v1alpha1.Release{Version: minor("release"), Kubernetes: []string{minor("k8s")}})
	}
	for range rapid.IntRange(0, 4).Draw(t, "paths") {
		out.Paths = append(out.Paths, v1alpha1.Path{From: minor("from"), To: minor("to"), Kubernetes: []string{minor("k8s")}})
	}
	return out
}

func TestMergingTwiceIsMergingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := spec(t)
		once := catalog.Default().Merge(s)
		if diff := cmp.Diff(once, once.Merge(s)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestParseIsStrict(t *testing.T) {
	for name, text := range map[string]string{
		"an unknown field":             `{"release": []}`,
		"a patch of another release":   `releases: [{version: "1.31", patch: 1.30.2, kubernetes: ["1.36"]}]`,
		"a release twice":              `releases: [{version: "1.31", kubernetes: ["1.36"]}, {version: "1.31", kubernetes: ["1.36"]}]`,
		"a path to nowhere":            `paths: [{from: "1.30", to: "1.31", kubernetes: ["1.36"]}]`,
		"a path down":                  `{releases: [{version: "1.30", kubernetes: ["1.36"]}], paths: [{from: "1.31", to: "1.30", kubernetes: ["1.36"]}]}`,
		"a full version as Kubernetes": `releases: [{version: "1.31", kubernetes: ["1.36.1"]}]`,
		"a release without Kubernetes": `releases: [{version: "1.31"}]`,
		"no YAML":                      `}`,
	} {
		if _, err := catalog.Parse([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestClosedRegistriesAreLeft(t *testing.T) {
	c := catalog.Default()
	for _, test := range []struct{ version, old, want string }{
		{"1.31.1", "gcr.io/istio-release", "docker.io/istio"},
		{"1.31.1", "registry.istio.io/release/", "docker.io/istio"},
		{"1.30.1", "gcr.io/istio-release", "gcr.io/istio-release"},
		{"1.31.1", "registry.example/istio", "registry.example/istio"},
		{"1.31.1", "", "docker.io/istio"},
	} {
		if got := c.Hub(test.version, test.old); got != test.want {
			t.Errorf("Hub(%s, %q) = %q, want %q", test.version, test.old, got, test.want)
		}
	}
	c.ImageHub = "mirror.example/istio"
	if got := c.Hub("1.31.1", "registry.example/istio"); got != "mirror.example/istio" {
		t.Errorf("the catalog's hub must win, got %q", got)
	}
}

func FuzzCheckNeverPanicsAndAlwaysExplains(f *testing.F) {
	f.Add("1.30", "1.31", "1.36")
	f.Add("v1.18.7", "1.22.0-alpha", "1.27+")
	f.Add("", ".", "1.")
	f.Add("999999.1", "-1.3", "1.999999999999")
	c := catalog.Default()
	f.Fuzz(func(t *testing.T, from, to, kubernetes string) {
		r := c.Check(from, to, kubernetes)
		if r != nil && (r.Reason == "" || len(r.Message) < 20) {
			t.Errorf("Check(%q, %q, %q) = %+v", from, to, kubernetes, r)
		}
		c.Targets(from, kubernetes)
		c.Resolve(to)
		c.Hub(from, to)
	})
}
