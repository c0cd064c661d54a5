package builder

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlift.dev/meshlift/lab/internal/layout"
)

func TestBringSkipsWhatIsUpToDate(t *testing.T) {
	dir := layout.Dir(t.TempDir())
	for _, d := range []string{"bin", "stamps"} {
		if err := os.MkdirAll(filepath.Join(string(dir), d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	b := &Builder{Dir: dir, Out: &out}
	inputs, runs, failure := "a", 0, error(nil)
	s := step{
		name: "thing", outputs: []string{dir.Bin("thing")},
		stamp: func(context.Context) (string, error) { return inputs, nil },
		run: func(context.Context, *progress) error {
			runs++
			if failure != nil {
				return failure
			}
			return writeFile(dir.Bin("thing"), []byte("x"), 0o755)
		},
	}
	bring := func(want bool) {
		t.Helper()
		done, err := b.bring(t.Context(), s, nil)
		if !errors.Is(err, failure) || done != want {
			t.Errorf("built %v, %v; want %v, %v", done, err, want, failure)
		}
	}
	bring(true)
	bring(false)
	inputs = "b"
	failure = errors.New("compiler says no")
	bring(false)
	failure = nil
	inputs = "a" // what failed is built again, even when the inputs are those of the last success
	bring(true)
	if err := os.Remove(dir.Bin("thing")); err != nil {
		t.Fatal(err)
	}
	bring(true)
	b.Force = true
	bring(true)
	if runs != 5 {
		t.Errorf("ran %d times, want 5", runs)
	}
}

func TestSelected(t *testing.T) {
	b := &Builder{Dir: "/lab", Source: "/src"}
	if all := len(b.selected()); all != len(b.steps()) {
		t.Errorf("%d of %d steps", all, len(b.steps()))
	}
	b.Only = []string{"istio-1.30.0", "kube"}
	var names []string
	for _, s := range b.selected() {
		names = append(names, s.name)
	}
	if got := strings.Join(names, " "); got != "kube istio-1.30.0-pilot-discovery istio-1.30.0-pilot-agent istio-1.30.0-charts" {
		t.Errorf("got %s", got)
	}
}

func TestFlags(t *testing.T) {
	kube := kubeFlags()
	for _, want := range []string{
		"-X k8s.io/component-base/version.gitVersion=v1.37.2", "-X k8s.io/client-go/pkg/version.gitMajor=1", "-X k8s.io/client-go/pkg/version.gitMinor=37 ",
	} {
		if !strings.Contains(kube, want) {
			t.Errorf("no %q in %s", want, kube)
		}
	}
	if istio := istioFlags(OlderIstio); !strings.Contains(istio, "buildVersion=1.30.0 ") || !strings.Contains(istio, "buildHub=docker.io/istio") {
		t.Errorf("flags %s", istio)
	}
}

func TestFollowCountsPackages(t *testing.T) {
	p := newProgress(&bytes.Buffer{}, "t")
	defer p.end("done")
	last := follow(strings.NewReader("go: downloading x v1\nexample.com/a\nexample.com/b\n# example.com/b\nb.go:1:2: undefined: y\n"), p)
	if n := p.packages.Load(); n != 2 {
		t.Errorf("%d packages", n)
	}
	if !strings.HasSuffix(last, "undefined: y") {
		t.Errorf("last lines %q", last)
	}
}

const istiodValues = `_internal_defaults_do_not_set:
  hub: ""
  tag: ""
  global:
    hub: registry.istio.io/testing
    # Default tag for Istio images.
    tag: latest
`

func TestCopyChart(t *testing.T) {
	from := t.TempDir()
	for name, content := range map[string]string{
		"Chart.yaml": "name: istiod\nversion: 1.0.0\nappVersion: 1.0.0\n", "values.yaml": istiodValues, "templates/a.yaml": "version: 1.0.0\n",
	} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(t.TempDir(), "istiod")
	if err := copyChart(from, to, "1.30.0", "1.30"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"Chart.yaml":       {"version: 1.30.0\nappVersion: 1.30.0\n"},
		"values.yaml":      {"    hub: docker.io/istio\n", "    tag: 1.30.0\n", "\ncompatibilityVersion: \"1.30\"\n", "  hub: \"\"\n"},
		"templates/a.yaml": {"version: 1.0.0\n"},
	} {
		content, err := os.ReadFile(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(content), w) {
				t.Errorf("%s lacks %q:\n%s", name, w, content)
			}
		}
	}
}

func TestReplaceDirKeepsTheOldOneOnFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	fill := func(content string, err error) error {
		return replaceDir(dir, func(temporary string) error {
			return errors.Join(os.WriteFile(filepath.Join(temporary, "f"), []byte(content), 0o600), err)
		})
	}
	if err := fill("old", nil); err != nil {
		t.Fatal(err)
	}
	if err := fill("new", errors.New("no")); err == nil {
		t.Error("the failure is lost")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(b) != "old" {
		t.Errorf("content %q, %v", b, err)
	}
}
