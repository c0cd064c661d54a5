package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/install"
)

// world is a hub, and a cluster that is to be registered.
type world struct {
	*clitest.World
	there      client.WithWatch
	denied     string // the verb and resource that the user may not do there
	kubeconfig string
	context    string
	hubFile    string
}

const admin = `
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}, {name: other, context: {cluster: d, user: u}}]
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: "QUJD"}}, {name: d, cluster: {server: "https://10.0.0.2:6443"}}]
users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: Never}}}]
`

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{World: clitest.New(objects...)}
	w.there = fake.NewClientBuilder().WithScheme(env.Scheme()).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			switch o := o.(type) {
			case *authorizationv1.SelfSubjectAccessReview:
				a := o.Spec.ResourceAttributes
				o.Status.Allowed = a.Verb+" "+a.Resource != w.denied
				return nil
			case *corev1.Secret: // Kubernetes fills the Secret of a token
				o.Name = o.GenerateName + "x"
				o.Data = map[string][]byte{"token": []byte("secret-token"), "ca.crt": []byte("authority")}
			}
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	w.kubeconfig = filepath.Join(t.TempDir(), "admin")
	if err := os.WriteFile(w.kubeconfig, []byte(admin), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) run(t *testing.T, args ...string) int {
	t.Helper()
	cmd := NewCommand(w.Env, Member{
		Connect:  func(*rest.Config) (client.WithWatch, error) { return w.there, nil },
		Releases: func(*rest.Config) (install.Releases, error) { return nil, errors.New("no Helm in this test") },
		Check: func(kubeconfig []byte) error {
			if strings.Contains(string(kubeconfig), "exec:") {
				return errors.New("it runs a program")
			}
			return nil
		},
		HubKubeconfig: &w.hubFile, HubContext: &w.context,
	})
	return w.Run(t, cmd, args...)
}

// look has the hub connect as soon as it is asked about the cluster.
func look(c client.Client, o client.Object, _ int) error {
	m := &hub.MemberCluster{}
	if err := c.Get(context.Background(), client.ObjectKey{Name: "east"}, m); err != nil || len(m.Status.Conditions) > 0 {
		return client.IgnoreNotFound(err)
	}
	for _, kind := range []string{hub.ConditionConnected, hub.ConditionAgentReady} {
		meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Done"})
	}
	m.Status.Connection.Server = "https://10.0.0.1:6443"
	return c.Update(context.Background(), m)
}

func (w *world) secret(t *testing.T) string {
	t.Helper()
	s := &corev1.Secret{}
	if err := w.Client.Get(t.Context(), client.ObjectKey{Namespace: "cpaas-system", Name: "cluster-east"}, s); err != nil {
		t.Fatal(err)
	}
	return string(s.Data["kubeconfig"])
}

func TestAClusterIsRegisteredWithATokenOfItsOwn(t *testing.T) {
	w := newWorld(t)
	w.Read = look
	for range 2 { // again ends the same
		if code := w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--mesh", "shop", "--install-agent=false"); code != exit.OK {
			t.Fatalf("exit code %d\n%s", code, w.Errors)
		}
		stored := w.secret(t)
		if !strings.Contains(stored, "token: secret-token") || strings.Contains(stored, "exec") || !strings.Contains(stored, "https://10.0.0.1:6443") || !strings.Contains(stored, "QUJD") {
			t.Errorf("%s", stored)
		}
	}
	m := &hub.MemberCluster{}
	if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "east"}, m); err != nil || m.Spec.Mesh != "shop" || m.Spec.KubeconfigSecret != "cluster-east" {
		t.Errorf("%v %+v", err, m.Spec)
	}
	if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "shop"}, &hub.Mesh{}); err != nil {
		t.Errorf("the mesh was not made: %v", err)
	}
	role := &rbacv1.ClusterRole{}
	if err := w.there.Get(t.Context(), client.ObjectKey{Name: hub.MemberAccount}, role); err != nil {
		t.Fatal(err)
	}
	for _, r := range role.Rules {
		for _, v := range append(append(r.Verbs, r.Resources...), r.APIGroups...) {
			if v == "*" {
				t.Errorf("a wildcard in %+v", r)
			}
		}
	}
	if !strings.Contains(w.Output.String(), "The hub is connected with east") {
		t.Error(w.Output)
	}
}

func TestTheRightsForComponentsCanBeLeftOutAndTakenAway(t *testing.T) {
	w := newWorld(t)
	w.Read = look
	binding := func() error {
		return w.there.Get(t.Context(), client.ObjectKey{Name: componentsBinding}, &rbacv1.ClusterRoleBinding{})
	}
	w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--install-agent=false")
	if err := binding(); err != nil {
		t.Error(err)
	}
	w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--install-agent=false", "--components=false")
	if err := binding(); !apierrors.IsNotFound(err) {
		t.Errorf("the binding is still there: %v", err)
	}
}

func TestTheHubCanReachAClusterByAnotherAddressAndContext(t *testing.T) {
	w := newWorld(t)
	w.Read = look
	if code := w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--context", "other", "--install-agent=false"); code != exit.OK || !strings.Contains(w.secret(t), "https://10.0.0.2:6443") {
		t.Errorf("exit code %d\n%s%s", code, w.Errors, w.secret(t))
	}
	if code := w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--server", "https://east.internal:6443", "--install-agent=false"); code != exit.OK || !strings.Contains(w.secret(t), "https://east.internal:6443") {
		t.Errorf("exit code %d\n%s%s", code, w.Errors, w.secret(t))
	}
}

func TestWhatCannotBeRegisteredIsRefusedBeforeAnythingChanges(t *testing.T) {
	other := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: hub.MemberClusterSpec{KubeconfigSecret: "s"}}
	other.Status.Connection.Server = "https://10.0.0.1:6443"
	elsewhere := &v1alpha1.ControlPlane{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.ControlPlaneSpec{Hub: &v1alpha1.HubLink{Mesh: "m", Cluster: "prod-7"}}}
	for name, c := range map[string]struct {
		objects  []client.Object
		prepare  func(t *testing.T, w *world)
		args     []string
		code     int
		sentence string
	}{
		"no kubeconfig":    {args: []string{"add", "east"}, code: exit.Usage, sentence: "--kubeconfig FILE says which cluster it is"},
		"a bad name":       {args: []string{"add", "East", "--kubeconfig", "@"}, code: exit.Usage, sentence: `"East" cannot be the name`},
		"a missing file":   {args: []string{"add", "east", "--kubeconfig", "/nowhere"}, code: exit.Failure, sentence: "no such file"},
		"no rights":        {prepare: func(_ *testing.T, w *world) { w.denied = "create clusterroles" }, args: []string{"add", "east", "--kubeconfig", "@"}, code: exit.Refused, sentence: "create clusterroles"},
		"not everything":   {prepare: func(_ *testing.T, w *world) { w.denied = "* *" }, args: []string{"add", "east", "--kubeconfig", "@"}, code: exit.Refused, sentence: "not needed with --components=false"},
		"another name":     {objects: []client.Object{other}, args: []string{"add", "east", "--kubeconfig", "@"}, code: exit.Refused, sentence: `registered already, as "other"`},
		"another hub":      {prepare: func(t *testing.T, w *world) { create(t, w.there, elsewhere.DeepCopy()) }, args: []string{"add", "east", "--kubeconfig", "@"}, code: exit.Refused, sentence: `as "prod-7" of mesh "m"`},
		"a frozen mesh":    {prepare: frozen, args: []string{"add", "east", "--kubeconfig", "@", "--mesh", "shop"}, code: exit.Refused, sentence: "while old istiods exist"},
		"unusable to keep": {args: []string{"add", "east", "--kubeconfig", "@", "--keep-credentials", "--install-agent=false"}, code: exit.Refused, sentence: "it runs a program"},
		"nobody to rotate": {args: []string{"rotate", "east", "--kubeconfig", "@"}, code: exit.Refused, sentence: `no cluster "east" in this hub`},
		"nobody to ask":    {objects: []client.Object{other}, args: []string{"remove", "other"}, code: exit.Usage, sentence: "add --yes"},
		"a frozen removal": {objects: []client.Object{other}, prepare: frozen, args: []string{"remove", "other", "--yes", "--force"}, code: exit.Refused, sentence: "while old istiods exist"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, objects(c.objects)...)
			if c.prepare != nil {
				c.prepare(t, w)
			}
			for n, a := range c.args {
				if a == "@" {
					c.args[n] = w.kubeconfig
				}
			}
			if code := w.run(t, c.args...); code != c.code || !strings.Contains(w.Errors.String(), c.sentence) {
				t.Errorf("exit code %d, want %d with %q\n%s", code, c.code, c.sentence, w.Errors)
			}
			if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "east"}, &hub.MemberCluster{}); !apierrors.IsNotFound(err) {
				t.Errorf("a MemberCluster was made: %v", err)
			}
			kept := &hub.MemberCluster{}
			if err := w.Client.Get(t.Context(), client.ObjectKey{Name: "other"}, kept); len(c.objects) > 0 && (err != nil || len(kept.Annotations) > 0) {
				t.Errorf("%v %+v", err, kept.Annotations)
			}
		})
	}
}

func objects(in []client.Object) (out []client.Object) {
	for _, o := range in {
		out = append(out, o.DeepCopyObject().(client.Object))
	}
	return out
}

func create(t *testing.T, c client.Client, o client.Object) {
	t.Helper()
	if err := c.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

func frozen(_ *testing.T, w *world) {
	w.Refuse = func(o client.Object) error {
		if _, ok := o.(*hub.MemberCluster); !ok {
			return nil
		}
		return &apierrors.StatusError{ErrStatus: metav1.Status{Message: `admission webhook "memberclusters.hub.meshlift.dev" denied the request: no cluster can come or go while old istiods exist`}}
	}
}

func TestAClusterThatDoesNotConnectIsRegisteredAndToldWhy(t *testing.T) {
	w := newWorld(t)
	if code := w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--install-agent=false", "--timeout", "50ms"); code != exit.Unfinished || !strings.Contains(w.Errors.String(), "is it running?") {
		t.Errorf("exit code %d\n%s", code, w.Errors)
	}
	if code := w.run(t, "add", "east", "--kubeconfig", w.kubeconfig, "--install-agent=false", "--wait=false"); code != exit.OK {
		t.Errorf("exit code %d\n%s", code, w.Errors)
	}
}

func TestAListShowsWhatIsAwayAndAnEmptyOneWhatToDo(t *testing.T) {
	w := newWorld(t)
	if code := w.run(t, "list"); code != exit.OK || !strings.Contains(w.Output.String(), "meshlift cluster add NAME") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	east := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: hub.MemberClusterSpec{Mesh: "shop", KubeconfigSecret: "s"}}
	east.Status.Conditions = []metav1.Condition{{Type: hub.ConditionConnected, Status: metav1.ConditionFalse}, {Type: hub.ConditionReady, Status: metav1.ConditionFalse, Message: "it does not answer"}}
	w = newWorld(t, east)
	if code := w.run(t, "list", "--mesh", "shop"); code != exit.OK || !strings.Contains(w.Output.String(), "east  shop  no ") || !strings.Contains(w.Output.String(), "it does not answer") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	w.Output.Reset()
	if code := w.run(t, "list", "-o", "json"); code != exit.OK || !strings.Contains(w.Output.String(), `"kind": "MemberClusterList"`) {
		t.Errorf("exit code %d\n%s", code, w.Output)
	}
}

func TestARemovalThatIsConfirmedEndsWhenTheHubHasLetGo(t *testing.T) {
	w := newWorld(t, &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: hub.MemberClusterSpec{KubeconfigSecret: "s"}})
	w.Terminal.In = true
	w.Input.WriteString("n\n")
	if code := w.run(t, "remove", "east"); code != exit.OK || !strings.Contains(w.Output.String(), "Nothing was changed") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	w.Input.WriteString("y\n")
	if code := w.run(t, "remove", "east"); code != exit.OK || !strings.Contains(w.Output.String(), "Cluster east is removed") {
		t.Errorf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	if code := w.run(t, "remove", "east"); code != exit.OK || !strings.Contains(w.Output.String(), "There is no cluster east") {
		t.Errorf("again: exit code %d\n%s%s", code, w.Output, w.Errors)
	}
}
