// Package platform is the command "meshlift platform check": may the hub itself be upgraded? The chart of the hub asks it before
// `helm upgrade` changes anything.
package platform

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/install"
	"meshlift.dev/meshlift/internal/fleet"
)

type options struct {
	env                                *env.Env
	offered, running, glass, namespace string
}

// deployment of the hub; its label says which version runs.
const deployment, versionLabel = "meshlift-hub", "app.kubernetes.io/version"

// NewCommand returns the command with its subcommand.
func NewCommand(e *env.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "platform", Short: "Say whether the hub itself may be upgraded (in the cluster of the hub)",
		Args: exit.NoSubcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	o := &options{env: e}
	check := &cobra.Command{
		Use: "check --offered VERSION", Short: "Refuse while any cluster has an old istiod, and name the clusters", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Say whether the hub may be upgraded to a version: not while any cluster of any mesh has an old istiod. The exit code is 0 when it
may and 1 when it may not, or when that cannot be found out. The chart of the hub runs this before "helm upgrade". The version
that runs, or an older one, is no upgrade: then only values change.

` + exit.Help,
		Example: "  " + e.Program + " platform check --offered 1.1.0",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	f := check.Flags()
	f.StringVar(&o.offered, "offered", "", "Version that the hub would be upgraded to")
	f.StringVar(&o.running, "running", "", "Version that runs now (default: what Deployment "+deployment+" says; without one, any offered version is an upgrade)")
	f.StringVar(&o.namespace, "hub-namespace", install.Namespace, "Namespace of the hub")
	f.StringVar(&o.glass, "break-glass", "", "Let it happen all the same, and record this `reason`")
	cmd.AddCommand(check)
	return cmd
}

func (o *options) run(ctx context.Context) error {
	if o.offered == "" {
		return exit.Usagef("say which version is offered: --offered VERSION")
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	list := &hub.MemberClusterList{}
	if err := c.List(ctx, list); err != nil {
		return o.env.API(fmt.Errorf("list MemberClusters: %w", err))
	}
	meshes := map[string][]fleet.Member{}
	for n := range list.Items {
		mc := &list.Items[n]
		key := "mesh " + mc.Spec.Mesh
		if mc.Spec.Mesh == "" {
			key = "cluster " + mc.Name // a mesh of its own
		}
		meshes[key] = append(meshes[key], fleet.Registered(mc))
	}
	in := fleet.PlatformInput{Offered: o.offered}
	if in.Running, err = o.runs(ctx, c); err != nil {
		return o.env.API(err)
	}
	var frozen []string
	for key, members := range meshes {
		old := fleet.OldIstiods(members)
		if mesh, ok := strings.CutPrefix(key, "mesh "); ok && len(old) > 0 {
			frozen = append(frozen, mesh)
		}
		in.Old = append(in.Old, old...)
	}
	v := fleet.UpgradePlatform(in)
	switch {
	case v.Passed():
		_, err := fmt.Fprintf(o.env.Out, "The platform may be upgraded to version %s: no cluster has an old istiod, or nothing newer is offered.\n", o.offered)
		return err
	case strings.TrimSpace(o.glass) == "":
		return &exit.Error{Code: exit.Failure, Err: fmt.Errorf("%s", v.Message)}
	}
	message := fmt.Sprintf("%s overrode a refusal, because %q; it was: %s", o.env.User(ctx, c), o.glass, v.Message)
	for _, mesh := range frozen {
		if err := record(ctx, c, mesh, message, o.env.Now()); err != nil {
			return o.env.API(fmt.Errorf("record the reason: %w", err))
		}
	}
	_, err = fmt.Fprintln(o.env.Out, message)
	return err
}

// runs is the version of the hub that runs now; "" when nobody knows.
func (o *options) runs(ctx context.Context, c client.Client) (string, error) {
	if o.running != "" {
		return o.running, nil
	}
	d := &appsv1.Deployment{}
	err := c.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: deployment}, d)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return "", fmt.Errorf("read Deployment %s/%s: %w", o.namespace, deployment, err)
	}
	return d.Labels[versionLabel], nil
}

// record tells it as an event of the mesh.
func record(ctx context.Context, c client.Client, mesh, message string, now time.Time) error {
	if len(message) > 1000 {
		message = message[:1000]
	}
	return c.Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, GenerateName: "platform-check-"}, EventTime: metav1.NewMicroTime(now),
		ReportingController: "meshlift.dev/platform-check", ReportingInstance: "meshlift", Action: "Override", Reason: hub.ReasonBrokenGlass, Type: corev1.EventTypeWarning, Note: message,
		Regarding: corev1.ObjectReference{APIVersion: hub.GroupVersion.String(), Kind: "Mesh", Name: mesh},
	})
}
