package lab

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// insideAll runs the tests on every kind of installation; else one of the five stands for them.
var insideAll = flag.Bool("inside.all", false, "test every kind of installation of Istio, which takes some ten minutes")

const otherInstallations = "Test/by_(Helm_with_tags_of_the_chart|istioctl_with_its_tags|Helm_without_a_revision|istioctl_without_a_revision)$"

// TestControlPlanesAreInstalledAndRetiredInALab runs the tests of the packages that install and retire control planes
// inside a lab without Istio, where they do what they like. On their own those tests say that they need a lab.
func TestControlPlanesAreInstalledAndRetiredInALab(t *testing.T) {
	t.Parallel()
	l := up(t, "inside", "--install", "")
	for _, pkg := range []string{"helm", "controlplane"} {
		t.Run(pkg, func(t *testing.T) { inside(t, l, pkg) })
	}
}

// inside builds the tests of a package and runs those that need a lab within it.
func inside(t *testing.T, l *labtest.Lab, pkg string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), pkg+".test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "./internal/"+pkg)
	build.Dir = l.Root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(l.Root, ".lab", "bin", "lab"), "exec", "--name", l.Name, "--",
		"env", "MESHLIFT_LAB_CHARTS="+l.Charts, "MESHLIFT_LAB_AGENT="+filepath.Join(l.Root, "charts"),
		"MESHLIFT_LAB_ISTIOCTL="+filepath.Join(l.Root, ".lab", "bin", "istio-1.31.0-istioctl"),
		binary, "-test.v", "-test.timeout=50m")
	if !*insideAll {
		cmd.Args = append(cmd.Args, "-test.skip", otherInstallations)
	}
	cmd.Dir = filepath.Join(l.Root, "internal", pkg)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nPASS\n") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "--- ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
