package check_test

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/check"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/preflight"
)

func world() *clitest.World {
	w := clitest.New(&v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.CatalogSpec{
		Releases: []v1alpha1.Release{{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}}},
		Paths:    []v1alpha1.Path{{From: "1.30", To: "1.31", Kubernetes: []string{"1.37"}}},
	}})
	w.Mesh = clitest.Mesh(false)
	return w
}

func refusedPod(f *preflight.Facts) { f.Rehearsal = "quota exceeded" }

func TestFindingsAreShownWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		survey func(*preflight.Facts)
		args   []string
		code   int
		says   []string
		silent []string
	}{
		{"an error", refusedPod, []string{"--to", "1.31"}, exit.Refused, []string{
			"Checks for Istio 1.30.0 (revision 1-30) → 1.31.0 (revision 1-31) on Kubernetes 1.37.2", "✗ Admission takes the new istiod's pod, by a dry run  istiod-rehearsal", "quota exceeded",
			"→ Have the policy", "1 error, ", "mend the errors",
		}, nil},
		{"an error that is ignored", refusedPod, []string{"--to", "1.31", "--ignore-check", "istiod-rehearsal"}, exit.OK, []string{"(ignored)", "meshlift plan --to 1.31"}, nil},
		{"only errors are shown", refusedPod, []string{"--to", "1.31", "--severity", "error"}, exit.Refused, []string{"istiod-rehearsal"}, []string{"single-replica"}},
		{"no error", nil, []string{"--to", "1.31"}, exit.OK, []string{"! Every data plane keeps a pod while it moves  single-replica", "istio-ingress/Deployment/web", "nothing keeps the upgrade from starting"}, []string{"✗"}},
		{"something unknown", func(f *preflight.Facts) { f.Unknown[preflight.Nodes] = "you may not list nodes" }, []string{"--to", "1.31"}, exit.OK, []string{"? There is room", "you may not list nodes"}, nil},
		{"a path that is not supported", nil, []string{"--to", "1.29"}, exit.Refused, []string{"✗ The upgrade is supported", "Istio 1.29 is older"}, nil},
		{"a list", nil, []string{"--list"}, exit.OK, []string{"istiod-capacity", "There is room for the new istiod"}, nil},
		{"a check that does not exist", nil, []string{"--to", "1.31", "--ignore-check", "nonsense"}, exit.Usage, []string{`there is no check "nonsense"`}, nil},
		{"a severity that does not exist", nil, []string{"--severity", "nonsense"}, exit.Usage, []string{"unknown severity"}, nil},
		{"a format that does not exist", nil, []string{"-o", "nonsense"}, exit.Usage, []string{"json, yaml or junit"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := world()
			w.Surveyed = c.survey
			code := w.Run(t, check.NewCommand(w.Env), c.args...)
			text := w.Output.String() + w.Errors.String()
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, text)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("missing %q in:\n%s", s, text)
				}
			}
			for _, s := range c.silent {
				if strings.Contains(text, s) {
					t.Errorf("%q is in:\n%s", s, text)
				}
			}
		})
	}
}

func TestMachinesReadJSONAndJUnit(t *testing.T) {
	w := world()
	w.Surveyed = refusedPod
	if code := w.Run(t, check.NewCommand(w.Env), "--to", "1.31", "-o", "json"); code != exit.Refused {
		t.Errorf("exit code %d", code)
	}
	var r preflight.Report
	if err := json.Unmarshal(w.Output.Bytes(), &r); err != nil || r.Passed || r.Summary[preflight.Error] != 1 || r.To.Version != "1.31.0" || len(r.Checks) != len(preflight.All()) {
		t.Errorf("%v\n%s", err, w.Output)
	}
	w.Output.Reset()
	if code := w.Run(t, check.NewCommand(w.Env), "--to", "1.31", "-o", "junit"); code != exit.Refused {
		t.Errorf("exit code %d", code)
	}
	var suites struct {
		Suites []struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Text string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(w.Output.Bytes(), &suites); err != nil || len(suites.Suites) != 1 {
		t.Fatalf("%v\n%s", err, w.Output)
	}
	s := suites.Suites[0]
	if s.Tests != len(preflight.All()) || s.Failures != 1 || len(s.Cases) != s.Tests {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Cases {
		if (c.Failure != nil) != (c.Name == "istiod-rehearsal") {
			t.Errorf("%s: %+v", c.Name, c.Failure)
		}
	}
}
