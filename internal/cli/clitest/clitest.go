// Package clitest gives tests of commands a world: a fake cluster, streams, a clock, and an agent that does its work between
// two looks of the command.
package clitest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/preflight"
)

// Now is the time in every test.
var Now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// User is who runs the command, as the API server says.
const User = "ann@example.com"

// World is what surrounds a command.
type World struct {
	*env.Env
	// Client of the fake cluster.
	Client client.WithWatch
	// Input is what the user types; give it before the command runs.
	Input *bytes.Buffer
	// Output and Errors are what the command printed.
	Output, Errors *bytes.Buffer
	// Mesh is what the inventory reads.
	Mesh *mesh.Inventory
	// Surveyed changes what a preflight is told of the cluster; nil tells it of nothing.
	Surveyed func(*preflight.Facts)
	// Refuse makes the cluster refuse a creation or a change of these objects; nil refuses nothing.
	Refuse func(client.Object) error
	// Read is called before each object that is read, with the number of reads of that kind of object so far; it can change
	// the cluster as the agent would, or return an error as a cluster in trouble would.
	Read func(c client.Client, obj client.Object, n int) error
}

// New makes a world with these objects in the cluster.
func New(objects ...client.Object) *World {
	w := &World{Input: &bytes.Buffer{}, Output: &bytes.Buffer{}, Errors: &bytes.Buffer{}, Mesh: &mesh.Inventory{KubernetesVersion: "v1.37.2"}}
	reads := map[string]int{}
	w.Client = fake.NewClientBuilder().WithScheme(env.Scheme()).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.ClusterUpgrade{}, &v1alpha1.DataPlaneRollout{}, &v1alpha1.ControlPlane{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				if review, ok := obj.(*authenticationv1.SelfSubjectReview); ok {
					review.Status.UserInfo.Username = User
					return nil
				}
				if err := w.refused(obj); err != nil {
					return err
				}
				obj.SetGeneration(1)
				return c.Create(ctx, obj, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, opts ...client.PatchOption) error {
				if err := w.refused(obj); err != nil {
					return err
				}
				return c.Patch(ctx, obj, p, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
				if err := w.refused(obj); err != nil {
					return err
				}
				return c.Delete(ctx, obj, opts...)
			},
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if w.Read != nil {
					kind := typeName(obj)
					reads[kind]++
					if err := w.Read(c, obj, reads[kind]); err != nil {
						return err
					}
				}
				return c.Get(ctx, key, obj, opts...)
			},
			// Commands read again when there is no watch; so every test is deterministic.
			Watch: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
				return nil, errors.New("no watch today")
			},
		}).Build()
	w.Env = &env.Env{
		IOStreams: genericiooptions.IOStreams{In: w.Input, Out: w.Output, ErrOut: w.Errors},
		Program:   "meshlift", Version: "v0.1.0",
		Connect: func() (client.WithWatch, error) { return w.Client, nil },
		Cluster: func() string { return "prod-1" },
		Inventory: func(context.Context, client.Client, string) (*mesh.Inventory, error) {
			return w.Mesh, nil
		},
		Survey: func(_ context.Context, f *preflight.Facts) error {
			if w.Surveyed != nil {
				w.Surveyed(f)
			}
			return nil
		},
		Kubernetes: func() (string, error) { return "v1.37.2", nil },
		Now:        func() time.Time { return Now },
		Resync:     time.Millisecond,
	}
	return w
}

func typeName(obj client.Object) string {
	switch obj.(type) {
	case *v1alpha1.ClusterUpgrade:
		return "ClusterUpgrade"
	case *v1alpha1.DataPlaneRollout:
		return "DataPlaneRollout"
	case *v1alpha1.ControlPlane:
		return "ControlPlane"
	}
	return "other"
}

func (w *World) refused(obj client.Object) error {
	if w.Refuse == nil {
		return nil
	}
	return w.Refuse(obj)
}

// Person puts somebody in front of the streams who types these lines; the terminal interface is not used.
func (w *World) Person(lines string) *World {
	w.Terminal.In, w.Terminal.Out, w.Terminal.Dumb = true, true, true
	w.Input.WriteString(lines)
	return w
}

// Run runs a command and returns its exit code; a message that would be printed for an error is added to Errors.
func (w *World) Run(t *testing.T, cmd *cobra.Command, args ...string) int {
	t.Helper()
	return w.RunContext(t.Context(), cmd, args...)
}

// RunContext is [World.Run] with a context that the test can end.
func (w *World) RunContext(ctx context.Context, cmd *cobra.Command, args ...string) int {
	cmd.SetArgs(append([]string{}, args...)) // nil would mean the arguments of the test binary
	cmd.SetIn(w.Input)
	cmd.SetOut(w.Output)
	cmd.SetErr(w.Errors)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(ctx)
	w.Errors.WriteString(exit.Message(err))
	return exit.Code(err)
}

// Upgrade is an accepted upgrade from 1-30 to 1-31 whose first steps are done.
func Upgrade(done int) *v1alpha1.ClusterUpgrade {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31", Generation: 1, CreationTimestamp: metav1.NewTime(Now.Add(-time.Hour))}}
	u.Spec.Version = "1.31"
	u.Status.ObservedGeneration = 1
	u.Status.From = &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}
	u.Status.To = &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"}
	Steps(u, done, v1alpha1.ReasonInProgress, "at work")
	return u
}

// Steps sets the conditions: so many steps are done, the next has this reason and message, the rest waits.
func Steps(u *v1alpha1.ClusterUpgrade, done int, reason, message string) {
	u.Status.Conditions = nil
	for n, kind := range []string{
		v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady,
		v1alpha1.ConditionEnvoyFiltersHandled, v1alpha1.ConditionDataPlanesMoved, v1alpha1.ConditionDecommissioned,
	} {
		c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonWaiting, Message: "waits"}
		switch {
		case n <= done:
			c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonDone, "done"
		case n == done+1:
			c.Reason, c.Message = reason, message
		}
		u.Status.Conditions = append(u.Status.Conditions, c)
	}
}

// Mesh is a cluster with revision 1-30, and 1-31 when both is true: namespace bookinfo with the Deployments ratings-v1 and
// reviews-v1, namespace istio-ingress with a gateway that cannot surge.
func Mesh(both bool) *mesh.Inventory {
	inv := &mesh.Inventory{
		IstioNamespace: "istio-system", KubernetesVersion: "v1.37.2",
		Revisions: []mesh.Revision{{Name: "1-30", Version: "1.30.0", Deployment: "istiod-1-30", Replicas: 1, ReadyReplicas: 1}},
		Namespaces: map[string]mesh.Namespace{
			"bookinfo": {Labels: map[string]string{mesh.LabelRev: "1-30"}}, "istio-ingress": {Labels: map[string]string{mesh.LabelRev: "1-30"}}, "empty": {},
		},
		Workloads: []mesh.Workload{
			workload("bookinfo", "ratings-v1", mesh.Sidecar, 1, mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1}),
			workload("bookinfo", "reviews-v1", mesh.Sidecar, 3, mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1}),
			workload("istio-ingress", "web", mesh.IngressGateway, 1, mesh.Strategy{Type: "Recreate"}),
		},
		EnvoyFilters: []mesh.EnvoyFilter{{Namespace: "bookinfo", Name: "add-header", Hash: "aaaa", Owner: "team-reviews"}},
	}
	if both {
		inv.Revisions = append(inv.Revisions, mesh.Revision{Name: "1-31", Version: "1.31.0", Deployment: "istiod-1-31", Replicas: 1, ReadyReplicas: 1})
	}
	for _, r := range inv.Revisions {
		inv.Configurations = append(inv.Configurations, mesh.Configuration{Name: "istio-sidecar-injector-" + r.Name, Webhooks: []mesh.Injector{{
			Name: "rev.namespace.sidecar-injector.istio.io", Revision: r.Name,
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: r.Name}},
		}}})
	}
	return inv
}

func workload(namespace, name string, role mesh.Role, pods int32, s mesh.Strategy) mesh.Workload {
	w := mesh.Workload{Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: namespace, Name: name}, Role: role, Desired: pods, Strategy: s}
	w.Progress = mesh.Progress{Replicas: pods, Updated: pods, Ready: pods, Available: pods}
	for range pods {
		w.Pods = append(w.Pods, mesh.Pod{Name: name, Revision: "1-30", Ready: true})
	}
	return w
}
