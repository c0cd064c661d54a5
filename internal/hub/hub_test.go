package hub

import (
	"bytes"
	"io/fs"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hubv1alpha1 "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/charts"
)

func TestAHubWithAFlagThatCannotBeRightDoesNotStart(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nowhere") // there is no cluster for what passes the check
	for args, want := range map[string]string{
		"--hub-namespace=":                 "--hub-namespace, or POD_NAMESPACE",
		"--leader-elect-lease-duration=0s": "--leader-elect-lease-duration is 0s: want 1s or more",
		"--webhook-port=70000":             "--webhook-port is 70000",
		"--webhook-port=-1":                "--webhook-port is -1",
		"--webhook-secret=":                "--webhook-secret",
		"--webhook-service=":               "--webhook-service",
		"surplus":                          "unknown command",
		"--webhook-port=0 --webhook-secret= --leader-elect":     "no configuration",
		"--leader-elect=false --leader-elect-lease-duration=0s": "no configuration",
	} {
		t.Run(args, func(t *testing.T) {
			cmd := NewCommand("test")
			cmd.SetArgs(strings.Fields(args))
			cmd.SetOut(&bytes.Buffer{})
			cmd.SetErr(&bytes.Buffer{})
			if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

func TestTheHubKnowsEveryFlagThatItsChartGives(t *testing.T) {
	files, err := charts.Hub()
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(files, "templates/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	given := regexp.MustCompile(`(?m)^ +- --([a-z-]+)`).FindAllSubmatch(text, -1)
	if len(given) < 5 {
		t.Fatalf("the chart gives the flags %q: is the pattern of this test still right?", given)
	}
	for _, g := range given {
		if NewCommand("test").Flags().Lookup(string(g[1])) == nil {
			t.Errorf("the chart gives --%s, which the hub does not know", g[1])
		}
	}
}

func TestTheNamespaceOfTheHubIsThatOfItsPod(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "mesh-platform")
	if got := NewCommand("test").Flags().Lookup("hub-namespace").DefValue; got != "mesh-platform" {
		t.Errorf("got %q", got)
	}
}

func TestTheHubWatchesSecretsOfItsOwnNamespaceOnlyAndNoReleasesOfHelm(t *testing.T) {
	for object, o := range cacheOptions("mesh-platform").ByObject {
		if _, ok := object.(*corev1.Secret); !ok {
			continue
		}
		own, ok := o.Namespaces["mesh-platform"]
		if !ok || len(o.Namespaces) != 1 || own.FieldSelector.String() != "type!=helm.sh/release.v1" {
			t.Errorf("%+v", o.Namespaces)
		}
		return
	}
	t.Error("Secrets of all namespaces are watched")
}

func TestClientsOfTheHubKnowItsKindsAndThoseOfItsMembers(t *testing.T) {
	s, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{&hubv1alpha1.Mesh{}, &v1alpha1.ClusterUpgrade{}, &corev1.Secret{}} {
		if _, _, err := s.ObjectKinds(o); err != nil {
			t.Error(err)
		}
	}
}
