package env_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/env"
)

func TestTheProgramIsCalledAgainAsItWasCalled(t *testing.T) {
	for _, c := range []struct{ argv0, namespace, want string }{
		{"meshlift", "", "meshlift"},
		{"/usr/local/bin/meshlift", "", "meshlift"},
		{"./bin/kubectl-meshlift", "", "kubectl meshlift"},
		{"kubectl-meshlift.exe", "", "kubectl meshlift"},
		{"kubectl-mesh_lift", "", "kubectl mesh-lift"},
		{"/app/asm-controller", "cpaas-system", "kubectl -n cpaas-system exec -it deploy/asm-controller -- /app/asm-controller"},
		{"/app/asm-controller", "", "asm-controller"},
		{"meshlift", "cpaas-system", "meshlift"},
		{"", "", "meshlift"},
	} {
		if got := env.ProgramName(c.argv0, c.namespace); got != c.want {
			t.Errorf("%q in %q: got %q, want %q", c.argv0, c.namespace, got, c.want)
		}
	}
}

func TestAQuestionTakesOneLineAndLeavesTheRest(t *testing.T) {
	in := strings.NewReader("YES\nnext line\n")
	e := &env.Env{}
	e.IOStreams, _, _, _ = genericiooptions.NewTestIOStreams()
	e.In = in
	if ok, err := e.Confirm("Go?"); !ok || err != nil {
		t.Errorf("%t %v", ok, err)
	}
	if in.Len() != len("next line\n") {
		t.Errorf("%d bytes are left", in.Len())
	}
}

func TestTheUserIsWhoTheClusterSays(t *testing.T) {
	w := clitest.New()
	if got := w.User(t.Context(), w.Client); got != clitest.User {
		t.Errorf("got %q", got)
	}
	old := fake.NewClientBuilder().WithScheme(env.Scheme()).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			return errors.New("no such kind")
		},
	}).Build()
	if got := w.User(t.Context(), old); got == "" || got == clitest.User {
		t.Errorf("an old cluster: got %q, want the user of the operating system", got)
	}
}
