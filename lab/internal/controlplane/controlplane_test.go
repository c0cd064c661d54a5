package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/lab/internal/container"
)

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		index                                     int
		gateway, services, kubernetes, dns, other string
	}{
		{0, "10.128.0.1", "10.96.0.0/16", "10.96.0.1", "10.96.0.10", "10.160.0.0/16"},
		{2, "10.130.0.1", "10.98.0.0/16", "10.98.0.1", "10.98.0.10", "10.162.0.0/16"},
		{MaxClusters - 1, "10.159.0.1", "10.127.0.0/16", "10.127.0.1", "10.127.0.10", "10.191.0.0/16"},
	} {
		a := AddressesOf(c.index)
		got := []string{a.Gateway.String(), a.Services.String(), a.Kubernetes().String(), a.DNS().String(), a.Sim.String()}
		want := []string{c.gateway, c.services, c.kubernetes, c.dns, c.other}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("cluster %d: got %v, want %v", c.index, got, want)
		}
	}
}

func TestNetworksOfClustersDoNotOverlap(t *testing.T) {
	var all []netip.Prefix
	for i := range MaxClusters {
		a := AddressesOf(i)
		for _, p := range []netip.Prefix{a.Services, a.Process, a.Sim} {
			for _, other := range all {
				if p.Overlaps(other) {
					t.Fatalf("cluster %d: %s overlaps %s", i, p, other)
				}
			}
			all = append(all, p)
		}
	}
}

func TestPKI(t *testing.T) {
	dir := t.TempDir()
	c := &Cluster{cfg: Config{Name: "east", Dir: dir}, addresses: AddressesOf(1)}
	if err := c.writePKI(); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.ca) {
		t.Fatal("the CA is not a PEM certificate")
	}
	for _, name := range []string{"10.129.0.1", "127.0.0.1", "10.97.0.1", "kubernetes", "kubernetes.default.svc.cluster.local"} {
		verify(t, filepath.Join(dir, "apiserver"), roots, name)
	}
	verify(t, filepath.Join(dir, "kubelet"), roots, "10.129.0.1")
	path := filepath.Join(dir, "k")
	if err := c.WriteKubeconfig(path, "https://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if config.CurrentContext != "east" || config.Clusters["east"].Server != "https://127.0.0.1:1" {
		t.Errorf("kubeconfig: context %q, cluster %+v", config.CurrentContext, config.Clusters["east"])
	}
}

func verify(t *testing.T, path string, roots *x509.CertPool, name string) {
	t.Helper()
	p, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
		t.Errorf("%s for %s: %v", filepath.Base(path), name, err)
	}
}

func TestIssueSetsSubject(t *testing.T) {
	ca, err := newAuthority(t.TempDir(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ca.issue("x", pkix.Name{CommonName: "admin", Organization: []string{masters}}, names{})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	if s := pair.Leaf.Subject; s.CommonName != "admin" || s.Organization[0] != masters {
		t.Errorf("subject %v", s)
	}
}

func TestProcessImages(t *testing.T) {
	pattern, err := regexp.Compile(processImages([]container.Image{
		{Repository: "pilot", Tag: "1.30.0"},
		{Repository: "pilot", Tag: "1.31.0"},
		{Repository: "proxyv2"},
		{Repository: "lab.meshlift.dev/echo"},
		{Repository: "example.com/meshlift"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]bool{
		"docker.io/istio/pilot:1.30.0": true, "pilot": true, "reg:5000/x/pilot:1.31.0-distroless": true, "istio/pilot@sha256:00": true,
		"docker.io/istio/proxyv2:1.30.0": false, "docker.io/istio/autopilot:1.0": false, "docker.io/pilot/app:1": false,
		"lab.meshlift.dev/echo:v1": true, "lab.meshlift.dev/anything": true, "xlab.meshlift.dev/echo": false,
		"example.com/meshlift:dev": true, "example.com/meshlift/other": false, "mirror/example.com/meshlift:dev": false,
	} {
		if got := pattern.MatchString(image); got != want {
			t.Errorf("%s: got %v, want %v", image, got, want)
		}
	}
}

// statusOf renders a stage's template as kwok does.
func statusOf(t *testing.T, s stage, object map[string]any) map[string]any {
	t.Helper()
	functions := sprig.TxtFuncMap()
	functions["Now"] = func() string { return "2026-01-02T03:04:05Z" }
	functions["Quote"] = func(v any) string { b, _ := yaml.Marshal(v); return strings.TrimSpace(string(b)) }
	functions["NodeIPsWith"] = func(string) []string { return []string{"10.128.0.1"} }
	functions["PodIPsWith"] = func(...any) []string { return []string{"10.160.0.9"} }
	functions["NodeIP"] = func() string { return "10.128.0.1" }
	functions["NodeName"] = func() string { return "sim-0" }
	functions["NodePort"] = func() int { return 10247 }
	functions["NodeConditions"] = func() []map[string]any {
		return []map[string]any{{"type": "Ready", "status": "True", "reason": "r", "message": "m"}}
	}
	parsed, err := template.New(s.name).Funcs(functions).Option("missingkey=zero").Parse(s.status)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, object); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	var status map[string]any
	if err := yaml.UnmarshalStrict([]byte(out.String()), &status); err != nil {
		t.Fatalf("%s renders no YAML: %v\n%s", s.name, err, out.String())
	}
	return status
}

func TestStagesRender(t *testing.T) {
	running := map[string]any{"running": map[string]any{"startedAt": "2026-01-02T03:04:00Z"}}
	status := func(name string) map[string]any {
		return map[string]any{"name": name, "restartCount": 4, "state": running, "lastState": map[string]any{}}
	}
	pod := map[string]any{
		"metadata": map[string]any{"name": "p", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-02T03:04:00Z"},
		"spec": map[string]any{
			"nodeName":   "sim-0",
			"containers": []any{map[string]any{"name": "istio-proxy", "image": "proxy"}, map[string]any{"name": "app", "image": "app"}},
			"initContainers": []any{
				map[string]any{"name": "init", "image": "i"}, map[string]any{"name": "side", "image": "s", "restartPolicy": "Always"},
			},
		},
		"status": map[string]any{"startTime": "2026-01-02T03:04:00Z", "containerStatuses": []any{status("istio-proxy"), status("app")}},
	}
	rendered := map[string]map[string]any{}
	for _, s := range append(nodeStages(), podStages()...) {
		if s.status != "" {
			rendered[s.name] = statusOf(t, s, pod)
		}
	}
	containers := rendered["pod-crash-restart"]["containerStatuses"].([]any)
	if n := containers[1].(map[string]any)["restartCount"]; n != float64(5) {
		t.Errorf("restarts of the crashing container: %v, want 5", n)
	}
	if n := containers[0].(map[string]any)["restartCount"]; n != float64(4) {
		t.Errorf("restarts of the proxy beside it: %v, want 4", n)
	}
	if ready := containers[0].(map[string]any)["ready"]; ready != true {
		t.Errorf("the proxy beside a crashing container is ready: %v", ready)
	}
	if phase := rendered["pod-image-pull-error"]["phase"]; phase != "Pending" {
		t.Errorf("phase without image: %v", phase)
	}
	if ip := rendered["pod-ready"]["podIP"]; ip != "10.160.0.9" {
		t.Errorf("podIP %v", ip)
	}
	pod["status"].(map[string]any)["podIP"] = "10.160.0.1"
	if _, again := statusOf(t, podStages()[0], pod)["podIP"]; again {
		t.Error("a pod that has an address gets another one")
	}
}

func TestStagesAreYAML(t *testing.T) {
	b, err := stages()
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(b), "---\n") {
		var m map[string]any
		if err := yaml.Unmarshal([]byte(document), &m); err != nil || m["kind"] != "Stage" {
			t.Errorf("not a Stage (%v):\n%s", err, document)
		}
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a\nb\nc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path, 2); got != "b\nc" {
		t.Errorf("tail: %q", got)
	}
}
