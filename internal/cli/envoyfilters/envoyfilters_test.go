package envoyfilters_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/envoyfilters"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/view"
)

// filtered is an upgrade with three EnvoyFilters: one that nobody has checked, one that changed since, one that is done.
func filtered() *v1alpha1.ClusterUpgrade {
	u := clitest.Upgrade(2)
	u.Status.EnvoyFilters = []v1alpha1.EnvoyFilterStatus{
		{Namespace: "a", Name: "new", Hash: "1"}, {Namespace: "a", Name: "changed", Hash: "2"}, {Namespace: "b", Name: "done", Hash: "3", Acknowledged: true},
	}
	u.Spec.EnvoyFilters = []v1alpha1.EnvoyFilterAcknowledgement{ack("a", "changed", "old", "bob", ""), ack("b", "done", "3", "bob", "looked")}
	return u
}

func ack(namespace, name, hash, by, note string) v1alpha1.EnvoyFilterAcknowledgement {
	return v1alpha1.EnvoyFilterAcknowledgement{Namespace: namespace, Name: name, Hash: hash, By: by, At: metav1.NewTime(clitest.Now), Note: note}
}

func TestAcknowledgementsRecordWhatWasCheckedByWhom(t *testing.T) {
	changed, done := ack("a", "changed", "old", "bob", ""), ack("b", "done", "3", "bob", "looked")
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
		want []v1alpha1.EnvoyFilterAcknowledgement
	}{
		{"one", []string{"ack", "a/new", "--note", "fine"}, exit.OK, "EnvoyFilter a/new acknowledged for Istio 1.31.0", []v1alpha1.EnvoyFilterAcknowledgement{changed, done, ack("a", "new", "1", clitest.User, "fine")}},
		{"one that changed", []string{"ack", "a/changed"}, exit.OK, "a/changed acknowledged", []v1alpha1.EnvoyFilterAcknowledgement{ack("a", "changed", "2", clitest.User, ""), done}},
		{"one that is done", []string{"ack", "b/done"}, exit.OK, "Nothing to change.", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
		{"a new note", []string{"ack", "b/done", "--note", "again"}, exit.OK, "b/done acknowledged", []v1alpha1.EnvoyFilterAcknowledgement{changed, ack("b", "done", "3", clitest.User, "again")}},
		{"all that wait", []string{"ack", "--all"}, exit.OK, "a/new acknowledged", []v1alpha1.EnvoyFilterAcknowledgement{ack("a", "changed", "2", clitest.User, ""), done, ack("a", "new", "1", clitest.User, "")}},
		{"one that is not there", []string{"ack", "a/new", "a/nothing"}, exit.Failure, "knows no EnvoyFilter a/nothing", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
		{"take one back", []string{"unack", "b/done"}, exit.OK, "b/done no longer acknowledged", []v1alpha1.EnvoyFilterAcknowledgement{changed}},
		{"take all back", []string{"unack", "--all"}, exit.OK, "a/changed no longer", nil},
		{"nothing named", []string{"ack"}, exit.Usage, "use --all", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
		{"both", []string{"ack", "--all", "a/new"}, exit.Usage, "not both", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
		{"no namespace", []string{"ack", "new"}, exit.Usage, "write NAMESPACE/NAME", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
		{"a note without end", []string{"ack", "a/new", "--note", strings.Repeat("x", 1025)}, exit.Usage, "at most 1024", []v1alpha1.EnvoyFilterAcknowledgement{changed, done}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clitest.New(filtered())
			code := w.Run(t, envoyfilters.NewCommand(w.Env), c.args...)
			if all := w.Output.String() + w.Errors.String(); code != c.code || !strings.Contains(all, c.says) {
				t.Errorf("exit code %d, want %d and %q in:\n%s", code, c.code, c.says, all)
			}
			u := &v1alpha1.ClusterUpgrade{}
			if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "1-30-to-1-31"}, u); err != nil {
				t.Fatal(err)
			}
			same := cmp.Comparer(func(a, b metav1.Time) bool { return a.Equal(&b) })
			if diff := cmp.Diff(c.want, u.Spec.EnvoyFilters, same); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheListIsForPeopleAndScripts(t *testing.T) {
	w := clitest.New(filtered())
	if code := w.Run(t, envoyfilters.NewCommand(w.Env), "list", "-o", "json"); code != exit.OK {
		t.Fatalf("exit code %d\n%s", code, w.Errors)
	}
	var got []view.EnvoyFilter
	if err := json.Unmarshal(w.Output.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var open []string
	for _, f := range got {
		if !f.Acknowledged {
			open = append(open, f.Name)
		}
	}
	if diff := cmp.Diff([]string{"new", "changed"}, open); diff != "" {
		t.Error(diff)
	}
	w.Output.Reset()
	if code := w.Run(t, envoyfilters.NewCommand(w.Env), "list"); code != exit.OK || !strings.Contains(w.Output.String(), "2 EnvoyFilters have to be checked") {
		t.Errorf("exit code %d\n%s", code, w.Output)
	}
	empty := clitest.New()
	if code := empty.Run(t, envoyfilters.NewCommand(empty.Env), "list"); code != exit.Refused {
		t.Errorf("exit code %d without an upgrade", code)
	}
}
