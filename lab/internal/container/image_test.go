package container

import "testing"

func TestFind(t *testing.T) {
	images := []Image{
		{Repository: "pilot", Tag: "1.31", Entrypoint: []string{"1.31"}},
		{Repository: "pilot", Tag: "1.31.2", Entrypoint: []string{"1.31.2"}},
		{Repository: "pilot", Tag: "1.30", Entrypoint: []string{"1.30"}},
		{Repository: "proxyv2", Entrypoint: []string{"any"}},
		{Repository: "lab.meshlift.dev/echo", Entrypoint: []string{"echo"}},
	}
	for ref, want := range map[string]string{
		"docker.io/istio/pilot:1.31.0":            "1.31",
		"docker.io/istio/pilot:1.31.2":            "1.31.2",
		"docker.io/istio/pilot:1.31.2-distroless": "1.31.2",
		"pilot:1.30.0":                            "1.30",
		"registry:5000/pilot:1.30":                "1.30",
		"registry:5000/pilot":                     "",
		"pilot:1.310":                             "",
		"istio/copilot:1.30":                      "",
		"x/proxyv2@sha256:00":                     "any",
		"x/proxyv2:9":                             "any",
		"lab.meshlift.dev/echo:1":                 "echo",
		"other/lab.meshlift.dev/echo:1":           "",
		"busybox":                                 "",
	} {
		got, ok := Find(images, ref)
		if ok != (want != "") || (ok && got.Entrypoint[0] != want) {
			t.Errorf("Find(%q) = %v, %v; want %q", ref, got.Entrypoint, ok, want)
		}
	}
}

func TestIsSimulated(t *testing.T) {
	i := Image{Simulated: []string{"istio-iptables"}}
	if !i.IsSimulated([]string{"istio-iptables", "-p"}) || i.IsSimulated([]string{"proxy"}) || i.IsSimulated(nil) {
		t.Error("only the first argument decides")
	}
}
