package box

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/lab/internal/container"
	"meshlift.dev/meshlift/lab/internal/layout"
)

func TestRevision(t *testing.T) {
	for _, c := range []struct{ choice, version, want string }{
		{AutoRevision, "1.30.0", "1-30"},
		{AutoRevision, "1.31.0-rc.1", "1-31"},
		{"", "1.31.2", "1-31"},
		{DefaultRevision, "1.30.0", ""},
		{"canary", "1.30.0", "canary"},
	} {
		if got := revision(c.choice, c.version); got != c.want {
			t.Errorf("%q of %s: got %q, want %q", c.choice, c.version, got, c.want)
		}
	}
}

func TestParseImages(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseImages([]string{"example.com:5000/meshlift=" + self + "@/app/asm-controller", "app:v1=" + self + "@/app"})
	if err != nil {
		t.Fatal(err)
	}
	want := []container.Image{
		{Repository: "example.com:5000/meshlift", Files: map[string]string{"/app/asm-controller": self}, Entrypoint: []string{"/app/asm-controller"}},
		{Repository: "app", Tag: "v1", Files: map[string]string{"/app": self}, Entrypoint: []string{"/app"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"x", "x=y", "x=" + self, "x=" + self + "@relative", "=" + self + "@/a", "x=/no/such@/a", "x=/etc@/a"} {
		if _, err := ParseImages([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// built makes a .lab directory with a control plane and the given versions of Istio.
func built(t *testing.T, versions ...string) layout.Dir {
	t.Helper()
	dir := layout.Dir(t.TempDir())
	files := []string{dir.Bin("kube")}
	for _, v := range versions {
		files = append(files, filepath.Join(dir.Istio(v), "pilot-discovery"), filepath.Join(dir.Istio(v), "charts", "x"))
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestComplete(t *testing.T) {
	dir := built(t, "1.30.0", "1.31.0")
	good := func() Options { return Options{Name: "a", Clusters: []string{"hub", "east"}, Install: "1.30.0"} }
	o := good()
	if err := o.complete(dir); err != nil {
		t.Fatal(err)
	}
	if o.Istio["1.31.0"] != dir.Istio("1.31.0") {
		t.Errorf("versions %v", o.Istio)
	}
	for name, change := range map[string]func(*Options){
		"a name with a slash":      func(o *Options) { o.Name = "a/b" },
		"no cluster":               func(o *Options) { o.Clusters = nil },
		"a cluster twice":          func(o *Options) { o.Clusters = []string{"a", "a"} },
		"a bad cluster name":       func(o *Options) { o.Clusters = []string{"A"} },
		"an unknown bare cluster":  func(o *Options) { o.Bare = []string{"west"} },
		"an unknown version":       func(o *Options) { o.Install = "1.29.0" },
		"a version without binary": func(o *Options) { o.Istio = map[string]string{"1.29.0": "/nowhere"} },
	} {
		o := good()
		change(&o)
		if err := o.complete(dir); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	o = good()
	if err := o.complete(layout.Dir(t.TempDir())); err == nil || !strings.Contains(err.Error(), "make lab") {
		t.Errorf("nothing built: %v", err)
	}
}

func TestMeshOfBareCluster(t *testing.T) {
	o := Options{Clusters: []string{"hub", "east"}, Bare: []string{"hub"}, Install: "1.30.0", Revision: AutoRevision}
	if mesh, _ := o.mesh("hub"); mesh.Version != "" {
		t.Errorf("hub gets %+v", mesh)
	}
	if mesh, _ := o.mesh("east"); mesh.Version != "1.30.0" || mesh.Revision != "1-30" {
		t.Errorf("east gets %+v", mesh)
	}
}

func TestImages(t *testing.T) {
	dir := built(t, "1.30.0", "1.31.0")
	if err := os.WriteFile(filepath.Join(dir.Istio("1.31.0"), "pilot-agent"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "a", Clusters: []string{"a"}}
	if err := o.complete(dir); err != nil {
		t.Fatal(err)
	}
	images, err := o.images("/bin/lab")
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"docker.io/istio/pilot:1.30.0":              filepath.Join(dir.Istio("1.30.0"), "pilot-discovery"),
		"docker.io/istio/proxyv2:1.31.0-distroless": filepath.Join(dir.Istio("1.31.0"), "pilot-agent"),
		"lab.meshlift.dev/echo:v1":                  "/bin/lab",
		"docker.io/istio/proxyv2:1.30.0":            "", // no pilot-agent of this version
	} {
		image, found := container.Find(images, ref)
		if found != (want != "") || (found && image.Files[image.Entrypoint[0]] != want) {
			t.Errorf("%s: found %v, %+v", ref, found, image)
		}
	}
}

func TestState(t *testing.T) {
	dir := layout.Dir(t.TempDir())
	run := dir.Run("a")
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "a"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without state: %v", err)
	}
	born, err := birth(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	s := State{Name: "a", Dir: run, PID: os.Getpid(), Born: born, Clusters: []Cluster{{Name: "hub"}, {Name: "east"}}}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(dir, "a")
	if err != nil || !reflect.DeepEqual(*got, s) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if c, err := got.Cluster(""); err != nil || c.Name != "hub" {
		t.Errorf("first cluster: %+v, %v", c, err)
	}
	if _, err := got.Cluster("west"); err == nil {
		t.Error("there is a cluster west")
	}
	if err := claim(run, "a"); err == nil {
		t.Error("a running lab's state was claimed")
	}
	s.Born++ // the PID was used again by another process
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, "a"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("another process: %v", err)
	}
	if err := claim(run, "a"); err != nil {
		t.Errorf("what a dead lab left cannot be claimed: %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy")
	t.Setenv("no_proxy", "x")
	t.Setenv("KUBECONFIG", "/mine")
	t.Setenv("PATH", "/bin")
	s := State{Name: "a", Dir: "/run/a", ChartsIn: "http://charts"}
	env := s.environment(Cluster{Inside: "/inside"})
	for _, want := range []string{"KUBECONFIG=/inside", "PATH=/run/a/bin:/bin", "MESHLIFT_LAB=a"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %v", want, env)
		}
	}
	for _, e := range env {
		if strings.Contains(strings.ToLower(e), "_proxy=") || e == "KUBECONFIG=/mine" {
			t.Errorf("%s is still there", e)
		}
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/nowhere:" + dir}
	for name, from := range map[string]string{"tool": "/", "./tool": dir, filepath.Join(dir, "tool"): "/"} {
		if got, err := lookup(name, env, from); err != nil || got != filepath.Join(dir, "tool") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"nosuch", "./nosuch"} {
		if got, err := lookup(name, env, dir); err == nil {
			t.Errorf("%s was found: %s", name, got)
		}
	}
}

func TestExitCode(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143} {
		if got := exitCode(exec.Command("sh", "-c", script).Run()); got != want {
			t.Errorf("%s: %d, want %d", script, got, want)
		}
	}
}

func TestRelay(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", netip.MustParseAddrPort("127.0.0.1:0").String())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	echo, front := listen(), listen()
	defer func() { _ = echo.Close() }()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- relay(ctx, front, echo.Addr().String()) }()
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("relay: %v", err)
	}
}

func TestFollowReports(t *testing.T) {
	for input, want := range map[string]string{
		`{"step":"a"}{"ready":true}`:     "",
		`{"step":"a"}{"error":"broken"}`: "broken",
		`{"step":"a"}`:                   "ended without saying why",
	} {
		var out strings.Builder
		err := follow(strings.NewReader(input), time.Now(), &out)
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", input, err)
		}
		if !strings.Contains(out.String(), "a\n") {
			t.Errorf("%s: printed %q", input, out.String())
		}
	}
}
