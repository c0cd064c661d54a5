package layout

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFind(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "repo/go.mod"), "// comment\nmodule meshlift.dev/meshlift\n\ngo 1.26\n")
	write(t, filepath.Join(root, "repo/lab/go.mod"), "module meshlift.dev/meshlift/lab\n")
	write(t, filepath.Join(root, "other/.lab/bin/kube"), "")
	for start, want := range map[string]string{
		"repo": "repo/.lab", "repo/lab/internal": "repo/.lab", "other": "other/.lab", "other/a/b": "other/.lab",
	} {
		dir := filepath.Join(root, start)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		got, err := findFrom(dir)
		if err != nil || string(got) != filepath.Join(root, want) {
			t.Errorf("from %s: %s, %v", start, got, err)
		}
	}
	t.Setenv(Env, filepath.Join(root, "x"))
	if got, err := Find(); err != nil || string(got) != filepath.Join(root, "x") {
		t.Errorf("with %s: %s, %v", Env, got, err)
	}
}

func TestSource(t *testing.T) {
	root := t.TempDir()
	lab := filepath.Join(root, "repo/lab")
	write(t, filepath.Join(lab, "go.mod"), "module meshlift.dev/meshlift/lab\n")
	dir := Dir(filepath.Join(root, "repo/.lab"))
	for _, wd := range []string{"repo", "repo/lab", "repo/lab/internal", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(root, wd), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(root, wd))
		if got, err := dir.Source(); err != nil || got != lab {
			t.Errorf("in %s: %s, %v", wd, got, err)
		}
	}
}

func TestIstioVersions(t *testing.T) {
	d := Dir(t.TempDir())
	if got, err := d.IstioVersions(); err != nil || got != nil {
		t.Errorf("without anything: %v, %v", got, err)
	}
	write(t, filepath.Join(d.Istio("1.31.0"), "charts/base/Chart.yaml"), "")
	write(t, filepath.Join(d.Istio("1.30.0"), "charts/base/Chart.yaml"), "")
	write(t, filepath.Join(d.GatewayAPI(), "gateways.yaml"), "")
	if got, err := d.IstioVersions(); err != nil || !reflect.DeepEqual(got, []string{"1.30.0", "1.31.0"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestBuilt(t *testing.T) {
	d := Dir(t.TempDir())
	write(t, d.Bin("kube"), "")
	if err := Built(d.Bin("kube")); err != nil {
		t.Error(err)
	}
	if err := Built(d.Bin("kube"), d.Bin("istioctl")); err == nil || !strings.Contains(err.Error(), "istioctl") {
		t.Errorf("got %v", err)
	}
}
