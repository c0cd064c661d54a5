package diff_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/diff"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

// istiods answer with one cluster whose alt_stat_name is what answer says for the revision, its own version and the asking one.
type istiods struct {
	answer func(revision, version string) (string, error)
}

func (i istiods) Ask(_ context.Context, rev mesh.Revision, _ xdsdiff.Proxy, version string) (xdsdiff.Answer, error) {
	text, err := i.answer(rev.Name, version)
	a := xdsdiff.Answer{}
	a.Add(xdsdiff.Clusters, protowire.AppendString(protowire.AppendTag(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a"), 28, protowire.BytesType), text))
	return a, err
}

func (i istiods) Close() {}

func world(both bool, answer func(revision, version string) (string, error), objects ...client.Object) *clitest.World {
	w := clitest.New(objects...)
	w.Mesh = clitest.Mesh(both)
	w.DataPlanes = func(context.Context, *mesh.Inventory) (*xdsdiff.Facts, error) {
		f := &xdsdiff.Facts{RootNamespace: "istio-system"}
		for _, n := range []string{"ratings-v1", "reviews-v1"} {
			f.Proxies = append(f.Proxies, xdsdiff.Proxy{
				Namespace: "bookinfo", Pod: n + "-x", Workload: mesh.Ref{Kind: "Deployment", Namespace: "bookinfo", Name: n}, Revision: "1-30", Version: "1.30.0", Type: "sidecar",
			})
		}
		f.Proxies = append(f.Proxies, xdsdiff.Proxy{Workload: mesh.Ref{Kind: "Deployment", Namespace: "grpc", Name: "client"}, Revision: "1-30", Unfit: "it is no Envoy"})
		return f, nil
	}
	w.Istiods = func(string) (env.Istiods, error) { return istiods{answer: answer}, nil }
	return w
}

func same(string, string) (string, error) { return "x", nil }

func byRevision(revision, _ string) (string, error) { return revision, nil }

func byVersion(_, version string) (string, error) { return version, nil }

func TestTheExitCodeIsThatOfDiff(t *testing.T) {
	down := clitest.Mesh(true)
	down.Revisions[1].ReadyReplicas = 0
	for _, c := range []struct {
		name   string
		world  *clitest.World
		change func(*clitest.World)
		args   []string
		code   int
		says   []string
	}{
		{"no difference", world(true, same), nil, nil, exit.OK, []string{
			"Istio 1.31.0 (revision 1-31), compared with 1.30.0 (revision 1-30)", "bookinfo  sidecar  2 pods of Deployment/ratings-v1, Deployment/reviews-v1", "✓ no difference", "grpc/Deployment/client: it is no Envoy",
			"1 class of 2 proxies: 0 differences.", "meshlift rollout",
		}},
		{"differences", world(true, byRevision), nil, nil, exit.Different, []string{`~ alt_stat_name: "1-30" → "1-31"`, "1 cluster: a", "1 difference."}},
		{"only with a new proxy", world(true, byVersion), nil, nil, exit.Different, []string{`"1.30.0" → "1.31.0"  (once the proxy is new)`}},
		{"the upgrade that runs", world(true, byRevision, clitest.Upgrade(2)), nil, nil, exit.Different, []string{"1 difference."}},
		{"the other way round", world(true, byRevision), nil, []string{"--from-revision", "1-31", "--revision", "1-30"}, exit.Different, []string{`"1-31" → "1-30"`}},
		{"by version", world(true, byRevision), nil, []string{"--to", "1.31"}, exit.Different, []string{`"1-30" → "1-31"`}},
		{"by full version", world(true, byRevision), nil, []string{"--to", "1.31.0"}, exit.Different, []string{`"1-30" → "1-31"`}},
		{"one workload", world(true, same), nil, []string{"bookinfo/Deployment/reviews-v1"}, exit.OK, []string{"1 pod of Deployment/reviews-v1", "1 class of 1 proxy"}},
		{"a workload that is not there", world(true, same), nil, []string{"bookinfo/nobody"}, exit.Usage, []string{`"bookinfo/nobody" is no data plane`}},
		{"no workload", world(true, same), nil, []string{"a/b/c/d"}, exit.Usage, []string{"is not a target"}},
		{"one istiod", world(false, same), nil, nil, exit.Refused, []string{"Two istiods are compared and 1 runs: start the upgrade first"}},
		{"a version that does not run", world(true, same), nil, []string{"--to", "1.33"}, exit.Refused, []string{"No istiod of version 1.33 runs"}},
		{"an istiod that is down", world(true, same), func(w *clitest.World) { w.Mesh = down }, nil, exit.Refused, []string{"Istiod 1-31 has no replica that is ready"}},
		{"the same twice", world(true, same), nil, []string{"--from-revision", "1-31", "--revision", "1-31"}, exit.Usage, []string{"are the same"}},
		{"an istiod that does not answer", world(true, func(string, string) (string, error) { return "", errors.New("nobody is at home") }), nil, nil, exit.NotCompared, []string{"nobody is at home"}},
		{"a format that does not exist", world(true, same), nil, []string{"-o", "x"}, exit.Usage, []string{"unknown output format"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.change != nil {
				c.change(c.world)
			}
			code := c.world.Run(t, diff.NewCommand(c.world.Env), c.args...)
			text := c.world.Output.String() + c.world.Errors.String()
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("missing %q in:\n%s", s, text)
				}
			}
		})
	}
}

func TestWhatChangedWhileItWasAskedIsAskedAgain(t *testing.T) {
	asked := 0
	moving := func(revision, _ string) (string, error) {
		if revision == "1-30" {
			if asked++; asked < 3 {
				return strings.Repeat("x", asked), nil // the old istiod has something new for a while
			}
		}
		return "settled", nil
	}
	w := world(true, moving)
	if code := w.Run(t, diff.NewCommand(w.Env)); code != exit.OK || asked != 3 {
		t.Errorf("exit code %d, the old istiod was asked %d times\n%s%s", code, asked, w.Output, w.Errors)
	}
	never := 0
	w = world(true, func(revision, _ string) (string, error) {
		if revision == "1-30" {
			never++
			return strings.Repeat("x", never), nil
		}
		return "settled", nil
	})
	if code := w.Run(t, diff.NewCommand(w.Env)); code != exit.Different || !strings.Contains(w.Output.String(), "nothing but time") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
}

func TestMachinesReadJSON(t *testing.T) {
	w := world(true, byRevision)
	if code := w.Run(t, diff.NewCommand(w.Env), "-o", "json"); code != exit.Different {
		t.Errorf("exit code %d", code)
	}
	var r xdsdiff.Report
	if err := json.Unmarshal(w.Output.Bytes(), &r); err != nil || r.Differences != 1 || len(r.Classes) != 1 || r.Classes[0].Changes[0].Path != "alt_stat_name" || len(r.Left) != 1 {
		t.Errorf("%v\n%s", err, w.Output)
	}
}
