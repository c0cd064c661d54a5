package chartrepo

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	repo "helm.sh/helm/v4/pkg/repo/v1"
	"sigs.k8s.io/yaml"
)

// source writes charts in the layout of Istio's source and returns the directory of the version.
func source(t *testing.T, charts map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range charts {
		file := filepath.Join(root, "charts", path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func testRepository(t *testing.T) *Repository {
	chart := func(name, version string) string {
		return "apiVersion: v2\nname: " + name + "\nversion: " + version + "\nappVersion: " + version + "\n"
	}
	return New(map[string]string{
		"1.28.3": source(t, map[string]string{
			"istio-control/istio-discovery/Chart.yaml":         chart("istiod", "1.0.0"), // as in Istio's source
			"istio-control/istio-discovery/values.yaml":        "a: 1\n",
			"istio-control/istio-discovery/templates/all.yaml": "kind: X\n",
			"gateways/istio-ingress/Chart.yaml":                chart("istio-ingress", "1.0.0"),
		}),
		"1.30.0": source(t, map[string]string{"istiod/Chart.yaml": chart("istiod", "1.30.0"), "base/Chart.yaml": chart("base", "1.30.0")}),
	}, filepath.Join(t.TempDir(), "packed"))
}

func TestLoad(t *testing.T) {
	r := testRepository(t)
	for _, version := range []string{"1.28.3", "1.30.0"} {
		c, err := r.Load("istiod", version)
		if err != nil {
			t.Fatal(err)
		}
		if c.Metadata.Version != version || c.Metadata.AppVersion != version {
			t.Errorf("version %s, application %s; want %s", c.Metadata.Version, c.Metadata.AppVersion, version)
		}
	}
	for name, version := range map[string]string{"base": "1.28.3", "istio-ingress": "1.28.3", "istiod": "1.29.0"} {
		if _, err := r.Load(name, version); err == nil {
			t.Errorf("there is a chart %s %s", name, version)
		}
	}
}

func TestServe(t *testing.T) {
	r := testRepository(t)
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	w := get("/charts/index.yaml")
	index := repo.NewIndexFile()
	if err := yaml.Unmarshal(w.Body.Bytes(), index); err != nil || w.Code != 200 {
		t.Fatalf("index: %d %v", w.Code, err)
	}
	if len(index.Entries) != 2+3 || len(index.Entries["istiod"]) != 2 {
		t.Fatalf("entries %v", index.Entries)
	}
	if len(index.Entries["flagger"]) != 3 {
		t.Errorf("stand-ins %v", index.Entries["flagger"])
	}
	newest := index.Entries["istiod"][0]
	if newest.Version != "1.30.0" || newest.Digest == "" {
		t.Errorf("newest istiod: %+v", newest)
	}
	if w := get("/charts/" + newest.URLs[0]); w.Code != 200 || w.Body.Len() == 0 {
		t.Errorf("archive: %d, %d bytes", w.Code, w.Body.Len())
	}
	for _, path := range []string{"/", "/charts/", "/charts/../index.yaml", "/charts/x/index.yaml", "/charts/nosuch.tgz", "/charts/state.json"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestStandInsSayThatTheyAreNone(t *testing.T) {
	for _, s := range standIns {
		c, err := s.chart()
		if err != nil {
			t.Fatal(err)
		}
		if c.Name() != s.name || c.Metadata.Version != s.version || c.Metadata.Annotations[StandIn] != "true" || len(c.CRDObjects()) != 1 || c.Values["mode"] != s.mode {
			t.Errorf("%s %s: %+v, %v", s.name, s.version, c.Metadata, c.Values)
		}
	}
}
