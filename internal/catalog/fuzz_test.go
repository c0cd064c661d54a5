package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
)

// sentence checks what a person is told.
func sentence(t *testing.T, what, text string) {
	t.Helper()
	if text == "" || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "%!") || strings.HasSuffix(text, ".") {
		t.Fatalf("%s is not told in one sentence: %q", what, text)
	}
}

// consistent checks what holds for every sound catalog.
func consistent(t *testing.T, c catalog.Catalog, from, to, kubernetes string) {
	t.Helper()
	refusal := c.Check(from, to, kubernetes)
	if !cmp.Equal(refusal, c.Check(from, to, kubernetes)) {
		t.Fatalf("%q to %q on %q is answered in two ways", from, to, kubernetes)
	}
	if refusal != nil {
		sentence(t, "a path", refusal.Message)
		if refusal.Reason == "" {
			t.Fatalf("a refusal without reason: %s", refusal.Message)
		}
	}
	for _, target := range c.Targets(from, kubernetes) {
		if r := c.Check(from, target, kubernetes); r != nil {
			t.Fatalf("%q is a target of %q on %q and refused: %s", target, from, kubernetes, r.Message)
		}
	}
	for _, m := range c.Components {
		if m.Name == "istio" || m.Name == "kubernetes" || m.Helm == nil && m.OLM == nil {
			t.Fatalf("component %q is accepted: %+v", m.Name, m)
		}
	}
	full, r := c.Resolve(to)
	switch {
	case r != nil:
		sentence(t, "a version", r.Message)
	case full == "" || strings.ContainsFunc(full, unicode.IsControl):
		t.Fatalf("%q resolves to %q", to, full)
	}
	if r != nil && refusal == nil && !strings.Contains(r.Message, "no patch version") {
		t.Fatalf("%q may be gone to and does not resolve: %s", to, r.Message)
	}
}

func FuzzACatalogIsSoundOrRefused(f *testing.F) {
	for _, yaml := range []string{
		"releases:\n- {version: \"1.30\", patch: 1.30.1, kubernetes: [\"1.35\"]}\n- {version: \"1.31\", kubernetes: [\"1.35\", \"1.36\"]}\npaths:\n- {from: \"1.30\", to: \"1.31\"}\n",
		"releases:\n- {version: \"1.031\", kubernetes: [\"1.35\"]}\npaths:\n- {from: \"1.30\", to: \"1.031\"}\n",
		"paths:\n- {from: \"1.31\", to: \"1.30\"}\n- {from: \"1.31\", to: \"1.30\"}\n", "releases: [{}]", "{", "a: &a [*a]", "- - -", "releases: 1", "\x00", "",
		"releases: [{version: \"1.31\", patch: \"1.31.0\\e[2J\", kubernetes: [\"1.35\"]}]",
	} {
		f.Add([]byte(yaml), "1.30.0", "1.31", "v1.35.2")
	}
	f.Add([]byte("{}"), "", "\x1b", "v")
	f.Fuzz(func(t *testing.T, data []byte, from, to, kubernetes string) {
		c, err := catalog.Parse(data)
		if err != nil {
			return // the words of the YAML parser; the embedded file is the only one that is read
		}
		consistent(t, c, from, to, kubernetes)
		spec := v1alpha1.CatalogSpec(c)
		if merged := c.Merge(&spec); !cmp.Equal(c, merged) {
			t.Fatalf("a catalog merged with itself: %s", cmp.Diff(c, merged))
		}
	})
}

func FuzzACatalogObjectIsMergedSoundlyOrRefusedInOneSentence(f *testing.F) {
	for _, spec := range []string{
		`{"releases":[{"version":"1.32","patch":"1.32.0","kubernetes":["1.37"]}],"paths":[{"from":"1.31","to":"1.32"}]}`,
		`{"releases":[{"version":"1.30","kubernetes":[]}],"paths":[{"from":"1.30","to":"1.30"},{"from":"x","to":"y\n"}]}`,
		`{"chartRepository":"file:///etc/passwd","imageHub":"\u001b]0;x\u0007","paths":[{"from":"1.30","to":"1.31","kubernetes":["1.037","","1.37"]}]}`,
		`{"releases":null,"paths":null}`,
		`{"components":[{"name":"asm","version":"9","helm":{"chart":"x","repository":"file:///etc/passwd","chartVersion":"\u001b"}},{"name":"istio","version":"1"},{"name":"A\n"},{"name":"x","olm":{"package":""}}]}`,
		`{"components":[{"name":"jaeger-operator","version":"1.65.0","olm":{"package":"jaeger","channel":"stable"}},{"name":"b","version":"1.2.3","helm":{"chart":"b"}}]}`,
	} {
		f.Add([]byte(spec), "1.30.0", "1.31", "v1.37.2")
	}
	f.Fuzz(func(t *testing.T, data []byte, from, to, kubernetes string) {
		var spec v1alpha1.CatalogSpec
		if json.Unmarshal(data, &spec) != nil {
			return
		}
		before := spec.DeepCopy()
		c := catalog.Default().Merge(&spec)
		if !cmp.Equal(*before, spec) {
			t.Fatalf("merging changed the object: %s", cmp.Diff(*before, spec))
		}
		if again := c.Merge(&spec); !cmp.Equal(c, again) {
			t.Fatalf("merging twice: %s", cmp.Diff(c, again))
		}
		if err := c.Validate(); err != nil {
			sentence(t, "a broken catalog", err.Error())
			if len(err.Error()) > 1000+10*len(data) {
				t.Fatalf("the refusal has %d bytes", len(err.Error()))
			}
			return
		}
		consistent(t, c, from, to, kubernetes)
	})
}

func TestAHugeCatalogIsRefusedQuicklyAndInOneSentence(t *testing.T) {
	var spec v1alpha1.CatalogSpec
	for n := range 13000 {
		v := "1." + strings.Repeat("9", n%5+1) + strings.Repeat("1", n/1000%3)
		spec.Releases = append(spec.Releases, v1alpha1.Release{Version: v})
		spec.Paths = append(spec.Paths, v1alpha1.Path{From: v, To: v + "0"})
	}
	err := catalog.Catalog(spec).Validate()
	if err == nil {
		t.Fatal("it is accepted")
	}
	sentence(t, "a huge catalog", err.Error())
}
