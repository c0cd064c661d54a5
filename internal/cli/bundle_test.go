package cli

import (
	"bytes"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
)

// site is a directory with charts and a catalog that names it.
func site(t *testing.T) (catalog, dir string) {
	t.Helper()
	dir = t.TempDir()
	r := helm.NewRepositories(false)
	archives := map[string][]byte{}
	for _, chart := range []string{"base", "istiod", "widget-operator"} {
		file, data, err := r.Pack(map[string][]byte{
			"Chart.yaml":            []byte("apiVersion: v2\nname: " + chart + "\nversion: 1.31.0\n"),
			"values.yaml":           []byte("image: example.com/" + chart + ":1.31.0\n"),
			"templates/deploy.yaml": []byte("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: x, image: '{{ .Values.image }}'}]}}}\n"),
		})
		if err != nil {
			t.Fatal(err)
		}
		archives[file] = data
	}
	if err := r.Write(dir, archives); err != nil {
		t.Fatal(err)
	}
	catalog = filepath.Join(t.TempDir(), "catalog.yaml")
	text := `
apiVersion: meshlift.dev/v1alpha1
kind: Catalog
metadata: {name: default}
spec:
  chartRepository: ` + dir + `
  releases: [{version: "1.31", patch: 1.31.0, kubernetes: ["1.35", "1.36", "1.37"]}]
  components: [{name: widget-operator, version: 1.31.0, helm: {chart: widget-operator, repository: ` + dir + `}}]
`
	if err := os.WriteFile(catalog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return catalog, dir
}

func meshlift(t *testing.T, args ...string) (out string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := &env.Env{IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr}, Program: "meshlift", Version: "0.1.0"}
	cmd := Bundle(e)
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(t.Context())
	t.Log(stderr.String())
	return stdout.String(), err
}

func TestASiteWithoutInternetTakesEverythingFromItsOwnRegistry(t *testing.T) {
	catalog, dir := site(t)
	file := filepath.Join(t.TempDir(), "bundle.tgz")
	if _, err := meshlift(t, "create", "--catalog", catalog, "--releases", "1.31", "-o", file); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil { // the internet is gone
		t.Fatal(err)
	}
	images, err := meshlift(t, "inspect", "--images", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"docker.io/istio/pilot:1.31.0", "docker.io/istio/proxyv2:1.31.0", "example.com/widget-operator:1.31.0", "ghcr.io/meshlift/meshlift:"} {
		if !strings.Contains(images, want) {
			t.Errorf("the images to mirror do not name %s:\n%s", want, images)
		}
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(t.Output(), "", 0))))
	defer server.Close()
	repository := "oci://" + strings.TrimPrefix(server.URL, "http://") + "/charts"
	text, err := meshlift(t, "load", file, "--to", repository, "--image-hub", "registry.site/istio", "--plain-http")
	if err != nil {
		t.Fatal(err)
	}
	c := &v1alpha1.Catalog{}
	if err := yaml.UnmarshalStrict([]byte(text), c); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if c.Spec.ChartRepository != repository || c.Spec.ImageHub != "registry.site/istio" || strings.Contains(text, dir) {
		t.Errorf("the Catalog names another source:\n%s", text)
	}
	for _, chart := range []string{"base", "istiod", "widget-operator"} {
		if _, _, err := helm.NewRepositories(true).Archive(t.Context(), release.Source{Repository: c.Spec.ChartRepository, Name: chart, Version: "1.31.0"}); err != nil {
			t.Error(err)
		}
	}
}

func TestABundleMakesADirectoryAChartRepository(t *testing.T) {
	catalog, _ := site(t)
	file, to := filepath.Join(t.TempDir(), "bundle.tgz"), filepath.Join(t.TempDir(), "charts")
	if _, err := meshlift(t, "create", "--catalog", catalog, "--releases", "1.31", "-o", file); err != nil {
		t.Fatal(err)
	}
	if _, err := meshlift(t, "load", file, "--to", to); err == nil || !strings.Contains(err.Error(), "--url") {
		t.Errorf("a directory without the address under which clusters reach it: %v", err)
	}
	if _, err := meshlift(t, "load", file, "--to", to, "--url", "https://charts.site"); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(filepath.Join(to, "index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"istiod-1.31.0.tgz", "meshlift-agent-"} {
		if !strings.Contains(string(index), want) {
			t.Errorf("index.yaml does not name %s", want)
		}
	}
}

func TestWhatCannotBePackedIsSaid(t *testing.T) {
	catalog, dir := site(t)
	if _, err := meshlift(t, "create", "--catalog", catalog, "--releases", "1.99"); err == nil || !strings.Contains(err.Error(), `no Istio release "1.99"`) {
		t.Errorf("an unknown release: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "istiod-1.31.0.tgz")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bundle.tgz")
	if _, err := meshlift(t, "create", "--catalog", catalog, "--releases", "1.31", "-o", file); err == nil || !strings.Contains(err.Error(), "istiod") {
		t.Errorf("a repository without istiod: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a bundle was written that is not whole")
	}
}
