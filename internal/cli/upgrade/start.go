package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/check"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/plan"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/cli/propose"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
)

type startOptions struct {
	env         *env.Env
	format      printer.Format
	wish        proposal.Wish
	name        string
	settings    []string
	files       []string
	ignored     []string
	yes, wait   bool
	waitTimeout time.Duration
}

func newStart(e *env.Env) *cobra.Command {
	o := &startOptions{env: e}
	cmd := &cobra.Command{
		Use:   "start --to VERSION",
		Short: "Install the new istiod beside the old one (steps 1 and 2)",
		Long: strings.ReplaceAll(`Start an upgrade: the new istiod is installed as a revision of its own beside the old one. Nothing that runs is touched;
data planes move later, when you say so. First the checks of "{} check" are made; while one finds errors nothing is started,
unless it is named with --ignore-check, which is recorded in the ClusterUpgrade.

The Helm values of the old revision are carried over; --set and --values are merged over them.
Without a terminal, --yes is needed.

`, "{}", e.Program) + exit.Help,
		Example: strings.ReplaceAll(`  # Look first, then start
  {} plan --to 1.31
  {} upgrade start --to 1.31

  # In a script: start, and wait until the new istiod is ready
  {} upgrade start --to 1.31 --yes --wait --wait-timeout 10m

  # With Helm values for the new istiod
  {} upgrade start --to 1.31 --set pilot.autoscaleMin=2 -f values.yaml`, "{}", e.Program),
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	plan.AddWishFlags(cmd, e, &o.wish)
	check.AddIgnoreFlag(cmd, &o.ignored)
	o.format.AddFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "Name of the ClusterUpgrade (default: made from the revisions, 1-30-to-1-31)")
	f.StringArrayVar(&o.settings, "set", nil, "Helm value of the new istiod, KEY=VALUE (can be given several times)")
	f.StringArrayVarP(&o.files, "values", "f", nil, "File with Helm values of the new istiod; - is standard input (can be given several times)")
	f.BoolVarP(&o.yes, "yes", "y", false, "Do not ask")
	f.BoolVar(&o.wait, "wait", false, "Wait until the new istiod is ready")
	f.DurationVar(&o.waitTimeout, "wait-timeout", 0, "Give up waiting after this time; the upgrade goes on (0 = never)")
	return cmd
}

func (o *startOptions) run(ctx context.Context) error {
	if err := o.format.Check(); err != nil {
		return err
	}
	if o.wish.Version == "" {
		return exit.Usagef("say which version: --to VERSION; %q shows what is supported", o.env.Program+" plan")
	}
	vals, err := o.values()
	if err != nil {
		return err
	}
	c, err := o.env.Client()
	if err != nil {
		return err
	}
	p, err := propose.New(ctx, o.env, c, o.wish, false)
	if err != nil {
		return err
	}
	if !p.Verdict.Passed() {
		return exit.Refusedf("%s", p.Verdict.Message)
	}
	ignored, err := o.check(ctx, c, p)
	if err != nil {
		return err
	}
	if err := o.confirm(p); err != nil {
		return err
	}
	u := o.object(p, vals)
	u.Spec.IgnoredChecks = ignored
	intent.RequestedBy(u, o.env.User(ctx, c))
	if err := c.Create(ctx, u); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return exit.Refusedf("ClusterUpgrade %q exists already: see %q, or give another --name", u.Name, o.env.Program+" upgrade show "+u.Name)
		}
		return o.env.API(fmt.Errorf("create ClusterUpgrade %q: %w", u.Name, err))
	}
	if o.format == printer.Text {
		_, _ = fmt.Fprintf(o.env.Out, "ClusterUpgrade %s created: Istio %s (revision %s) is being installed beside %s\n", u.Name, p.To.Version, p.To.Revision, p.From.Name)
	}
	return o.finish(ctx, c, u)
}

// check makes the checks of the preflight, says what they found besides errors, and returns the record of those that are ignored. Errors are a
// refusal.
func (o *startOptions) check(ctx context.Context, c client.Client, p *proposal.Proposal) ([]v1alpha1.IgnoredCheck, error) {
	r, _, err := propose.Check(ctx, o.env, p, o.ignored)
	if err != nil {
		return nil, err
	}
	if v := r.Start(o.env.Program, "--ignore-check"); !v.Passed() {
		return nil, exit.Refusedf("%s", v.Message)
	}
	if o.format == printer.Text {
		_, _ = fmt.Fprintf(o.env.ErrOut, "%s; see them with: %s check --to %s\n", r.Words(), o.env.Program, o.wish.Version)
	}
	var out []v1alpha1.IgnoredCheck
	for _, k := range r.Checks {
		if k.Ignored && k.Severity == preflight.Error {
			out = append(out, v1alpha1.IgnoredCheck{
				ID: k.ID, Findings: int32(k.Errors()), By: o.env.User(ctx, c), At: metav1.NewTime(o.env.Now().UTC().Truncate(time.Second)),
			})
		}
	}
	return out, nil
}

func (o *startOptions) finish(ctx context.Context, c client.WithWatch, u *v1alpha1.ClusterUpgrade) error {
	var err error
	if o.wait {
		u, err = Wait(ctx, o.env, c, u, v1alpha1.ConditionControlPlaneReady, o.waitTimeout, o.format == printer.Text)
	} else if o.format == printer.Text {
		_, _ = fmt.Fprintf(o.env.Out, "Watch it with: %s status --watch\n", o.env.Program)
	}
	if o.format != printer.Text && u != nil {
		if werr := o.format.WriteObject(o.env.Out, u, env.Scheme()); werr != nil {
			return werr
		}
	}
	if err == nil && o.wait && o.format == printer.Text {
		for _, n := range view.NextSteps(o.env.Program, nil, u, nil) {
			_, _ = fmt.Fprintf(o.env.Out, "Next: %s: %s\n", n.Why, n.Command)
		}
	}
	return err
}

// confirm shows the path, what it needs, what happens and what does not, and asks.
func (o *startOptions) confirm(p *proposal.Proposal) error {
	if o.yes {
		return nil
	}
	if !o.env.Terminal.CanAsk() {
		return exit.Usagef("nobody can be asked here: add --yes")
	}
	text := view.Confirmation{
		From: p.From.Name, FromVersion: p.From.Version, To: p.To.Revision, ToVersion: p.To.Version, Kubernetes: p.Inventory.KubernetesVersion,
		Filters: len(p.Inventory.EnvoyFilters),
	}.Render(o.env.Terminal.View())
	if _, err := io.WriteString(o.env.ErrOut, text+"\n"); err != nil {
		return err
	}
	ok, err := o.env.Confirm("Install Istio " + p.To.Version + " beside " + p.From.Version + "?")
	if err != nil {
		return err
	}
	if !ok {
		return exit.Refusedf("Nothing was changed.")
	}
	return nil
}

func (o *startOptions) object(p *proposal.Proposal, vals *runtime.RawExtension) *v1alpha1.ClusterUpgrade {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: o.name}, Spec: v1alpha1.ClusterUpgradeSpec{
		Version: o.wish.Version, Revision: o.wish.Revision, FromRevision: o.wish.From, Values: vals,
	}}
	if u.Name == "" {
		u.Name = intent.ClusterUpgrade(p.From.Name, p.To.Revision)
	}
	return u
}

func (o *startOptions) values() (*runtime.RawExtension, error) {
	files := map[string][]byte{}
	for _, f := range o.files {
		var data []byte
		var err error
		if f == "-" {
			data, err = io.ReadAll(o.env.In)
		} else {
			data, err = os.ReadFile(f)
		}
		if err != nil {
			return nil, exit.Usagef("read values %q: %w", f, err)
		}
		files[f] = data
	}
	v, err := values(files, o.files, o.settings)
	if err != nil || len(v) == 0 {
		return nil, err
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	return &runtime.RawExtension{Raw: raw}, nil
}
