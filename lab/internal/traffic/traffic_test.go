package traffic

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/lab/internal/echo"
)

func write(t *testing.T, dir string, s echo.Stats) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, s.Pod+".json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func sample(t *testing.T, now time.Time) map[string]string {
	run := t.TempDir()
	dir := filepath.Join(run, "east", "kubelet", "hostpath", HostPath)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, echo.Stats{
		Identity: echo.Identity{Pod: "client-b", Namespace: "grpc", App: "client", Revision: "1-31"}, Started: now.Add(-time.Minute), Updated: now,
		Calls: 60, OK: 60, Revisions: map[string]int64{"1-31": 60}, Auth: map[string]int64{"tls": 60},
	})
	write(t, dir, echo.Stats{
		Identity: echo.Identity{Pod: "client-a", Namespace: "grpc", App: "client", Revision: "1-30"}, Started: now.Add(-time.Hour), Updated: now.Add(-time.Minute),
		Ended: true, Calls: 42, OK: 40, Failed: 2, Reasons: map[string]int64{"Unavailable: x": 2}, Revisions: map[string]int64{"1-30": 40},
		Auth: map[string]int64{"plaintext": 40},
	})
	write(t, dir, echo.Stats{Identity: echo.Identity{Pod: "other", Namespace: "n2"}, Started: now, Updated: now.Add(-2 * lostAfter)})
	dirs, err := Directories(run)
	if err != nil {
		t.Fatal(err)
	}
	if dirs["east"] != dir || len(dirs) != 1 {
		t.Fatalf("directories %v", dirs)
	}
	return dirs
}

func TestCollect(t *testing.T) {
	now := time.Now()
	r, err := collect(sample(t, now), Filter{}, now)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, c := range r.Clients {
		states = append(states, c.Pod+" "+string(c.State))
	}
	if got, want := strings.Join(states, ", "), "client-a ended, client-b running, other lost"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r.Total.Calls != 102 || r.Total.OK != 100 || r.Total.Failed != 2 || r.Total.MTLS != 0.6 || !r.Total.Since.Equal(now.Add(-time.Hour)) {
		t.Errorf("total %+v", r.Total)
	}
	var out bytes.Buffer
	if err := r.Table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"grpc/client-a", "1-30:40 1-31:60", "60%", "failed 2 × Unavailable: x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestFilter(t *testing.T) {
	now := time.Now()
	dirs := sample(t, now)
	for _, test := range []struct {
		filter Filter
		want   int
	}{
		{Filter{}, 3},
		{Filter{Name: "client"}, 2},
		{Filter{Name: "client-a"}, 1},
		{Filter{Namespace: "n2"}, 1},
		{Filter{Name: "client", Namespace: "n2"}, 0},
		{Filter{Cluster: "east"}, 3},
		{Filter{Cluster: "west"}, 0},
	} {
		r, err := collect(dirs, test.filter, now)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Clients) != test.want {
			t.Errorf("%+v selects %d, want %d", test.filter, len(r.Clients), test.want)
		}
	}
}

func TestCollectWithoutClients(t *testing.T) {
	r, err := Collect(map[string]string{"east": filepath.Join(t.TempDir(), "never")}, Filter{})
	if err != nil || len(r.Clients) != 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	b, err := json.Marshal(r)
	if err != nil || strings.Contains(string(b), "0001-01-01") || !strings.Contains(string(b), `"clients":[]`) {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestCollectRefusesBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Collect(map[string]string{"east": dir}, Filter{}); err == nil {
		t.Error("accepted a broken file")
	}
}
