package envoyfilters_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/envoyfilters"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/preflight"
)

func TestEachEnvoyFilterIsJudgedForTheTarget(t *testing.T) {
	filter := func(name string, patch map[string]any) preflight.Resource {
		return preflight.Resource{
			Object: preflight.Object{Kind: "EnvoyFilter", Namespace: "shop", Name: name}, Group: "networking.istio.io",
			Content: map[string]any{"spec": map[string]any{"configPatches": []any{patch}}},
		}
	}
	stops := filter("stops", map[string]any{"match": map[string]any{"proxy": map[string]any{"proxyVersion": `^1\.30.*`}}})
	sound := filter("sound", map[string]any{})
	for name, c := range map[string]struct {
		config []preflight.Resource
		said   []preflight.Answer
		args   []string
		code   int
		says   []string
	}{
		"one that stops":   {[]preflight.Resource{sound, stops}, nil, nil, exit.OK, []string{"shop/stops  changes", "! patch 1: it stops", "shop/sound  fine"}},
		"one that breaks":  {[]preflight.Resource{sound}, []preflight.Answer{{Object: sound.Object, Denied: "no such type"}}, nil, exit.Refused, []string{"shop/sound  breaks", "✗ istiod 1-31 refuses it: no such type"}},
		"none":             {nil, nil, nil, exit.OK, []string{"There are no EnvoyFilters"}},
		"for a machine":    {[]preflight.Resource{stops}, nil, []string{"-o", "json"}, exit.OK, []string{`"outcome": "changes"`, `"patch": 1`}},
		"a wrong argument": {nil, nil, []string{"-o", "xml"}, exit.Usage, []string{"xml"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := clitest.New(&v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.CatalogSpec{
				Releases: []v1alpha1.Release{{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}}},
				Paths:    []v1alpha1.Path{{From: "1.30", To: "1.31", Kubernetes: []string{"1.37"}}},
			}})
			w.Mesh = clitest.Mesh(false)
			w.Surveyed = func(f *preflight.Facts) { f.Config, f.Admission = c.config, c.said }
			code := w.Run(t, envoyfilters.NewCommand(w.Env), append([]string{"check", "--to", "1.31"}, c.args...)...)
			text := w.Output.String() + w.Errors.String()
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("missing %q in:\n%s", s, text)
				}
			}
		})
	}
}
