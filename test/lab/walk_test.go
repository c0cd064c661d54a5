package lab

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/internal/helm"
)

var pictures = flag.String("walk.pictures", "", "folder for pictures of the pages; none when empty")

// TestTheGuideIsWalkedInABrowser clicks through the whole guide in the pages of a hub, with two clusters: web/e2e/walk.mjs.
func TestTheGuideIsWalkedInABrowser(t *testing.T) {
	t.Parallel()
	h := setupWalk(t)
	east := h.members["east"]
	// It fails on the new revision until somebody mends it, and nobody waits ten minutes for that.
	east.Kubectl(t, nil, "-n", "bookinfo", "annotate", "deployment", "ratings-v1", "meshlift.dev/timeout=15s")
	east.Kubectl(t, nil, "-n", "bookinfo", "patch", "deployment", "ratings-v1", "-p", `{"spec":{"template":{"metadata":{"annotations":{"lab.meshlift.dev/mode":"imagepull@1-31"}}}}}`)
	east.Kubectl(t, nil, "-n", "bookinfo", "rollout", "status", "deployment/ratings-v1", "--timeout=5m")

	out, err := h.walk(t)
	if err != nil {
		t.Fatalf("the walk: %v\n%s\n%s", err, out, h.said(t))
	}
	t.Logf("\n%s", out)
	for name := range h.members {
		h.istiods(t, name, 1)
	}
	if traffic := h.Traffic(t); traffic.Failed > 0 || traffic.Calls == 0 {
		t.Errorf("%d of %d calls failed", traffic.Failed, traffic.Calls)
	}
}

// setupWalk starts a hub with two clusters, in one of which a component is old and an EnvoyFilter is to be checked.
func setupWalk(t *testing.T) *hubbed {
	t.Helper()
	h := setupHub(t, "walk", "bookinfo,grpc,gateway")
	east := &platform{Lab: h.Lab, east: h.members["east"]}
	var err error
	if east.helm, err = helm.New(helm.Options{REST: east.east.REST}); err != nil {
		t.Fatal(err)
	}
	east.byOthers(t, "canary", "flagger-system", "flagger", "1.0.0", nil)
	text, err := os.ReadFile(filepath.Join(h.Root, "examples", "lab-catalog.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, `
  components:
    - name: flagger-operator
      title: Flagger Operator
      version: 1.1.0
      helm: {chart: flagger}
`...)
	h.Kubectl(t, bytes.NewReader(text), "apply", "--server-side", "-f", "-")
	east.east.Kubectl(t, nil, "apply", "-f", filepath.Join(h.Root, "demo", "envoyfilter.yaml"))
	return h
}

// walk runs the walk and returns what it said.
func (h *hubbed) walk(t *testing.T) (string, error) {
	t.Helper()
	namespace(t, h.Lab, "people", nil) // the accounts of cpaas-system are audited as Meshlift's own
	h.Kubectl(t, nil, "create", "serviceaccount", "ann", "-n", "people")
	h.Kubectl(t, nil, "create", "clusterrolebinding", "ann", "--clusterrole=meshlift-operator", "--serviceaccount=people:ann")
	token := strings.TrimSpace(h.Kubectl(t, nil, "create", "token", "ann", "-n", "people"))
	cmd := exec.CommandContext(t.Context(), "node", "e2e/walk.mjs")
	cmd.Dir = filepath.Join(h.Root, "web")
	cmd.Env = append(os.Environ(), "WALK_URL="+h.forward(t), "WALK_TOKEN="+token, "WALK_KUBECTL="+filepath.Join(h.Root, ".lab", "bin", "kube"),
		"WALK_EAST="+h.members["east"].Kubeconfig, "WALK_PICTURES="+*pictures)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// forward makes the pages reachable from the host, as a person would, and returns their address.
func (h *hubbed) forward(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(h.Root, ".lab", "bin", "kube"), "kubectl", "--kubeconfig", h.Kubeconfig, "port-forward", "-n", "cpaas-system", "service/meshlift-hub", ":8443")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said := &bytes.Buffer{} // every connection that a browser gives up is an error to kubectl
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if port := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(lines.Text()); port != nil {
			go func() {
				for lines.Scan() { // it stops when nobody reads
				}
			}()
			return "https://127.0.0.1:" + port[1]
		}
	}
	_ = cmd.Wait()
	t.Fatalf("kubectl port-forward said no address: %s", said)
	return ""
}
