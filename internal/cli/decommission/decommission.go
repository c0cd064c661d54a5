// Package decommission is the command "meshlift decommission": remove the old istiod when nothing uses it any more, or list
// exactly what still does.
package decommission

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/cli/upgrade"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

type options struct {
	env         *env.Env
	format      printer.Format
	upgrade     string
	soak        time.Duration
	yes         bool
	withdraw    bool
	glass       string
	wait        bool
	waitTimeout time.Duration
}

// NewCommand returns the command.
func NewCommand(e *env.Env) *cobra.Command {
	o := &options{env: e}
	cmd := &cobra.Command{
		Use:   "decommission",
		Short: "Remove the old istiod when nothing uses it any more (step 5)",
		Long: `Remove the old istiod. It is possible only when nothing uses it: no pod, no live connection, no reference; otherwise the
command lists exactly what remains (ingress gateways, egress gateways, sidecars, connections, references) and changes nothing.

The old istiod is first scaled to zero and watched for the time of --soak, ready to come back; then it is uninstalled. Until then --withdraw brings it back.
In a mesh with a hub, the removal waits until every cluster of the mesh has moved and it is the turn of this one.
Without a terminal, --yes is needed. On a terminal the command waits for the end; Ctrl-C leaves, and the removal goes on.

` + exit.Help,
		Example: strings.ReplaceAll(`  # See what remains, or be asked
  {} decommission

  # Bring the old istiod back while it soaks
  {} decommission --withdraw

  # In a script
  {} decommission --yes --wait --wait-timeout 30m`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("wait") {
				o.wait = e.Terminal.Interactive() && o.format == printer.Text
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.upgrade, "upgrade", "", "Name of the ClusterUpgrade (default: the one that runs)")
	f.DurationVar(&o.soak, "soak", 5*time.Minute, "How long the old istiod stays scaled to zero, ready to come back")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.BoolVar(&o.withdraw, "withdraw", false, "Take the decommission back; the old istiod comes back if it is not uninstalled yet")
	f.StringVar(&o.glass, "break-glass", "", "Do not wait for the hub, and record this `reason`; nothing that is in use is removed all the same")
	f.BoolVar(&o.wait, "wait", false, "Wait until the old istiod is gone (default: on a terminal)")
	f.DurationVar(&o.waitTimeout, "wait-timeout", 0, "Give up waiting after this time; the removal goes on (0 = never)")
	o.format.AddFlag(cmd)
	env.CompleteFlag(cmd, "upgrade", e.CompleteUpgrades)
	return cmd
}

func (o *options) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	if o.soak < 0 {
		return exit.Usagef("--soak cannot be negative")
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	u, err := o.env.Upgrade(ctx, c, o.upgrade)
	if err != nil {
		return err
	}
	if view.Finished(u) {
		o.say("The old istiod of upgrade %s is gone already.", u.Name)
		return o.print(u)
	}
	if o.withdraw {
		return o.takeBack(ctx, c, u)
	}
	if u.Spec.Decommission == nil {
		if err := o.request(ctx, c, u); err != nil {
			return err
		}
	} else if err := o.remains(u); err != nil {
		// It was asked for before, and something began to use the old revision again.
		return err
	}
	if o.glass != "" {
		if err := o.breakGlass(ctx, c, u); err != nil {
			return err
		}
	}
	return o.finish(ctx, c, u)
}

func (o *options) say(format string, args ...any) {
	w := o.env.Out
	if o.format != printer.Text {
		w = o.env.ErrOut
	}
	_, _ = fmt.Fprintln(w, o.env.Terminal.View().Theme.Clean(fmt.Sprintf(format, args...)))
}

func (o *options) print(u *v1alpha1.ClusterUpgrade) error {
	if o.format == printer.Text {
		return nil
	}
	return o.format.WriteObject(o.env.Out, u, env.Scheme())
}

// remains lists what uses the old revision, and refuses; nil when nothing does, or only pods that are being deleted: the
// removal begins when they are gone.
func (o *options) remains(u *v1alpha1.ClusterUpgrade) error {
	r := view.NewRemains(u)
	if r.Ending() {
		if n := len(r.Blockers); n > 0 {
			o.say("The removal begins when what is ending is gone: %s", r.Blockers[0].Message)
		}
		return nil
	}
	if o.format != printer.Text {
		if err := o.format.Write(o.env.Out, r); err != nil {
			return err
		}
	} else if _, err := io.WriteString(o.env.Out, r.Render(o.env.Terminal.View())+"\n"); err != nil {
		return err
	}
	return exit.Refusedf("The old istiod cannot be removed while it is in use: move what remains, see %q.", o.env.Program+" rollout")
}

// request checks, asks, and writes the wish into the upgrade.
func (o *options) request(ctx context.Context, c client.Client, u *v1alpha1.ClusterUpgrade) error {
	if err := o.remains(u); err != nil {
		return err
	}
	if step := early(u); step != nil {
		return exit.Refusedf("The old istiod cannot be removed yet: step %d (%s) is not done: %s", step.Number, step.Title, step.Message)
	}
	if err := o.confirm(u); err != nil {
		return err
	}
	by, at := o.env.User(ctx, c), metav1.NewTime(o.env.Now().UTC().Truncate(time.Second))
	err := env.Edit(ctx, c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		return intent.Decommission(&u.Spec.Decommission, by, at, metav1.Duration{Duration: o.soak}), nil
	})
	if err != nil {
		return o.env.API(err)
	}
	o.say("The removal of istiod %s is asked for: scale to zero, soak for %s, uninstall.", revision(u), o.soak)
	return o.sayHub(ctx, c, u)
}

// sayHub tells what the hub says about it, in a cluster that has one.
func (o *options) sayHub(ctx context.Context, c client.Client, u *v1alpha1.ClusterUpgrade) error {
	cp, err := o.env.ControlPlane(ctx, c)
	if err != nil {
		return err
	}
	if cp == nil || cp.Spec.Hub == nil || o.glass != "" {
		return nil
	}
	switch d := cp.Spec.Hub.Decommission; {
	case d == nil || d.UID != u.UID || !d.Pass && d.Reason == v1alpha1.ReasonUserAction:
		o.say("It waits until the hub says that every cluster of mesh %s has moved and that it is the turn of this one.", cp.Spec.Hub.Mesh)
	case !d.Pass:
		o.say("It waits for the hub: %s", d.Message)
	}
	return nil
}

// breakGlass records the reason on the upgrade, which lets it go on without the hub.
func (o *options) breakGlass(ctx context.Context, c client.Client, u *v1alpha1.ClusterUpgrade) error {
	reason := o.glass + " (" + o.env.User(ctx, c) + ")"
	err := env.Edit(ctx, c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		if u.Annotations[v1alpha1.BreakGlassAnnotation] == reason {
			return false, nil
		}
		if u.Annotations == nil {
			u.Annotations = map[string]string{}
		}
		u.Annotations[v1alpha1.BreakGlassAnnotation] = reason
		return true, nil
	})
	if err != nil {
		return o.env.API(err)
	}
	o.say("The permission of the hub is overridden, and the reason is recorded.")
	return nil
}

// takeBack withdraws the wish.
func (o *options) takeBack(ctx context.Context, c client.Client, u *v1alpha1.ClusterUpgrade) error {
	changed := false
	err := env.Edit(ctx, c, u, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		changed = intent.Withdraw(&u.Spec.Decommission)
		return changed, nil
	})
	if err != nil {
		return o.env.API(err)
	}
	if changed {
		o.say("The decommission of istiod %s is withdrawn. Watch it with: %s status --watch", revision(u), o.env.Program)
	} else {
		o.say("No decommission of upgrade %s was asked for: nothing to withdraw.", u.Name)
	}
	return o.print(u)
}

// early returns the first of the steps before the decommission that is not done.
func early(u *v1alpha1.ClusterUpgrade) *view.Step {
	step := view.FirstOpen(view.Steps(u))
	if step == nil || step.Condition == v1alpha1.ConditionDecommissioned {
		return nil
	}
	if step.Message == "" {
		step.Message = "the agent has not looked at it yet"
	}
	return step
}

func revision(u *v1alpha1.ClusterUpgrade) string {
	if u.Status.From == nil {
		return "of the old revision"
	}
	return u.Status.From.Version + " (revision " + u.Status.From.Revision + ")"
}

func (o *options) confirm(u *v1alpha1.ClusterUpgrade) error {
	if o.yes {
		return nil
	}
	if !o.env.Terminal.CanAsk() {
		return exit.Usagef("nobody can be asked here: add --yes")
	}
	if len(u.Status.Blockers) == 0 {
		o.say("Nothing uses istiod %s any more: no pod, no connection, no reference.", revision(u))
	}
	o.say("It is scaled to zero, stays ready to come back for %s, and is then uninstalled. Until then it can be withdrawn.", o.soak)
	ok, err := o.env.Confirm("Decommission istiod " + revision(u) + "?")
	if err == nil && !ok {
		err = exit.Refusedf("Nothing was changed.")
	}
	return err
}

func (o *options) finish(ctx context.Context, c client.WithWatch, u *v1alpha1.ClusterUpgrade) error {
	if !o.wait {
		o.say("Watch it with: %s status --watch", o.env.Program)
		return o.print(u)
	}
	last, err := upgrade.Wait(ctx, o.env, c, u, v1alpha1.ConditionDecommissioned, o.waitTimeout, o.format == printer.Text)
	if perr := o.print(last); perr != nil {
		return perr
	}
	if err != nil {
		return err
	}
	message := "The old istiod is gone."
	if c := meta.FindStatusCondition(last.Status.Conditions, v1alpha1.ConditionDecommissioned); c != nil && c.Message != "" {
		message = c.Message
	}
	o.say("Done: %s", message)
	return nil
}
