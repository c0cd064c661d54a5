package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"meshlift.dev/meshlift/internal/release"
)

// files of a small chart.
func files(name, version string) map[string]string {
	return map[string]string{
		"Chart.yaml":           fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version),
		"values.yaml":          "_internal_defaults_do_not_set:\n  autoscaleMin: 1\n",
		"templates/one.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.name | default \"one\" }}, namespace: {{ .Release.Namespace }}}\ndata: {hub: {{ .Values.hub | default \"none\" | quote }}}\n",
		"templates/NOTES.txt":  "hello",
		"files/injection.yaml": "annotation: {{ .Values.seldomMentioned }}\n",
		"files/readme.txt":     "notMentioned",
	}
}

func archive(t *testing.T, name, version string) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	tarball := tar.NewWriter(zip)
	for path, text := range files(name, version) {
		if err := tarball.WriteHeader(&tar.Header{Name: name + "/" + path, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tarball.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tarball.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t *testing.T, dir, name, version string) {
	t.Helper()
	for path, text := range files(name, version) {
		at := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func newClient(t *testing.T, plain bool) *Client {
	t.Helper()
	c, err := New(Options{REST: &rest.Config{Host: "https://127.0.0.1:1"}, PlainHTTP: plain})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAChartComesFromAHelmRepository(t *testing.T) {
	good := archive(t, "istiod", "1.31.0")
	sum := sha256.Sum256(good)
	index := fmt.Sprintf(`entries:
  istiod:
  - {version: 1.31.1, urls: [other.tgz]}
  - {version: 1.31.0, urls: [istiod-1.31.0.tgz], digest: %s}
  - {version: 1.30.0, urls: [istiod-1.31.0.tgz]}
  - {version: 1.29.0, urls: [istiod-1.31.0.tgz], digest: %s}
  - {version: 1.28.0, urls: []}
  base:
  - {version: 1.31.0, urls: [istiod-1.31.0.tgz]}
`, hex.EncodeToString(sum[:]), strings.Repeat("0", 64))
	requests := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests[r.URL.Path]++
		switch r.URL.Path {
		case "/charts/index.yaml":
			fmt.Fprint(w, index)
		case "/charts/istiod-1.31.0.tgz":
			_, _ = w.Write(good)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := newClient(t, false)
	for _, test := range []struct{ name, chart, version, want string }{
		{"the version that is asked for", "istiod", "1.31.0", ""},
		{"a version that the index names wrongly", "istiod", "1.30.0", "it has version 1.31.0"},
		{"an archive that was tampered with", "istiod", "1.29.0", "digest"},
		{"an entry without an address", "istiod", "1.28.0", "no such chart"},
		{"a file that is not there", "istiod", "1.31.1", "404"},
		{"a version that is not there", "istiod", "1.31", "no such chart"},
		{"another chart under the name", "base", "1.31.0", `it is the chart "istiod"`},
		{"a chart that is not there", "gateway", "1.31.0", "no such chart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.Describe(t.Context(), release.Source{Repository: server.URL + "/charts/", Name: test.chart, Version: test.version})
			if test.want == "" {
				if err != nil || got.Version != test.version {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "chart "+test.chart+" "+test.version) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
		})
	}
	before := requests["/charts/istiod-1.31.0.tgz"]
	if _, err := c.Describe(t.Context(), release.Source{Repository: server.URL + "/charts/", Name: "istiod", Version: "1.31.0"}); err != nil {
		t.Fatal(err)
	}
	if requests["/charts/istiod-1.31.0.tgz"] != before {
		t.Error("an archive that is in memory is fetched again")
	}
}

func TestAChartComesFromAnOCIRegistry(t *testing.T) {
	data := archive(t, "istiod", "1.31.0")
	digest := func(b []byte) string { s := sha256.Sum256(b); return "sha256:" + hex.EncodeToString(s[:]) }
	config := []byte(`{"name":"istiod","version":"1.31.0","apiVersion":"v2"}`)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": map[string]any{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": digest(config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": digest(data), "size": len(data)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs := map[string][]byte{digest(config): config, digest(data): data, digest(manifest): manifest, "1.31.0": manifest}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob, ok := blobs[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
		if !ok || !strings.HasPrefix(r.URL.Path, "/v2/istio/charts/istiod/") {
			http.NotFound(w, r)
			return
		}
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Docker-Content-Digest", digest(manifest))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(blob)
		}
	}))
	defer server.Close()
	repository := "oci://" + strings.TrimPrefix(server.URL, "http://") + "/istio/charts"
	got, err := newClient(t, true).Describe(t.Context(), release.Source{Repository: repository, Name: "istiod", Version: "1.31.0"})
	if err != nil || got.Name != "istiod" || got.Version != "1.31.0" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := newClient(t, true).Describe(t.Context(), release.Source{Repository: repository, Name: "istiod", Version: "1.32.0"}); err == nil {
		t.Error("a version that is not there is found")
	}
}

func TestAChartComesFromADirectory(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"as a folder", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "istiod"), "istiod", "1.31.0") }, ""},
		{"as an archive", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "istiod-1.31.0.tgz"), archive(t, "istiod", "1.31.0"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"where Istio's source tree has it, with the version that is written at the release", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "istio-control", "istio-discovery"), "istiod", unreleased)
		}, ""},
		{"of another version", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "istiod"), "istiod", "1.30.0") }, "it has version 1.30.0"},
		{"that is empty", func(*testing.T, string) {}, "neither"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			test.make(t, dir)
			got, err := newClient(t, false).Describe(t.Context(), release.Source{Repository: dir, Name: "istiod", Version: "1.31.0"})
			if test.want == "" && (err != nil || got.Version != "1.31.0") || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAChartSaysWhatItReads(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "istiod"), "istiod", "1.31.0")
	got, err := newClient(t, false).Describe(t.Context(), release.Source{Repository: dir, Name: "istiod", Version: "1.31.0"})
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{"hub": true, "seldomMentioned": true, "notMentioned": false, "ConfigMap": false} {
		if got.Mentions(word) != want {
			t.Errorf("mentions %s: %v", word, !want)
		}
	}
	if diff := cmp.Diff([]string{"files/injection.yaml", "files/readme.txt"}, got.Files); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIstiodWritesIntoAWebhookIsKept(t *testing.T) {
	live := &admissionregistration.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"istio.io/rev": "1-31", "istio.io/tag": "default", "other": "x"}},
		Webhooks: []admissionregistration.ValidatingWebhook{{
			Name: "validation.istio.io", FailurePolicy: ptr.To(admissionregistration.Fail),
			ClientConfig: admissionregistration.WebhookClientConfig{CABundle: []byte("ca"), Service: &admissionregistration.ServiceReference{Name: "istiod-1-31"}},
		}},
	}
	rendered := &admissionregistration.ValidatingWebhookConfiguration{Webhooks: []admissionregistration.ValidatingWebhook{
		{Name: "validation.istio.io", FailurePolicy: ptr.To(admissionregistration.Ignore), SideEffects: ptr.To(admissionregistration.SideEffectClassNone)},
		{Name: "new.istio.io", FailurePolicy: ptr.To(admissionregistration.Ignore)},
	}}
	keepFields(rendered, live)
	want := &admissionregistration.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"istio.io/rev": "1-31", "istio.io/tag": "default"}},
		Webhooks: []admissionregistration.ValidatingWebhook{
			{Name: "validation.istio.io", FailurePolicy: live.Webhooks[0].FailurePolicy, ClientConfig: live.Webhooks[0].ClientConfig, SideEffects: ptr.To(admissionregistration.SideEffectClassNone)},
			{Name: "new.istio.io", FailurePolicy: ptr.To(admissionregistration.Ignore)},
		},
	}
	if diff := cmp.Diff(want, rendered); diff != "" {
		t.Error(diff)
	}
}

func TestAChartThatIsBuiltInIsReadFromTheBinary(t *testing.T) {
	c, err := New(Options{REST: &rest.Config{}, BuiltIn: map[string]fs.FS{"own": fstest.MapFS{
		"Chart.yaml":      {Data: []byte("apiVersion: v2\nname: own\nversion: 1.2.3\n")},
		"crds/thing.yaml": {Data: []byte("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	crds, err := c.CRDs(t.Context(), release.Source{Repository: release.BuiltIn, Name: "own", Version: "1.2.3"})
	if err != nil || len(crds) != 1 || crds[0].GetName() != "things.example.com" {
		t.Errorf("%v, %v", crds, err)
	}
	for _, s := range []release.Source{{Repository: release.BuiltIn, Name: "own", Version: "9.9.9"}, {Repository: release.BuiltIn, Name: "other", Version: "1.2.3"}} {
		if _, err := c.CRDs(t.Context(), s); err == nil {
			t.Errorf("%v was found", s)
		}
	}
}
