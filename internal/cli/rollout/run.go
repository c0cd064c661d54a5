package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/printer"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

// session is one run of the command.
type session struct {
	*options
	client   client.WithWatch
	upgrade  *v1alpha1.ClusterUpgrade
	rollouts []v1alpha1.DataPlaneRollout
	istio    string
	named    []target
	cluster  *v1alpha1.ControlPlane
	// file is the rollout that --filename named; nil without.
	file *v1alpha1.DataPlaneRollout
}

// interactive tells whether the terminal interface is used.
func (o *options) interactive() bool {
	return !o.noPrompt && o.format == printer.Text && o.env.Terminal.Interactive()
}

// text is where lines for people go: beside -o json they go to standard error.
func (o *options) text() io.Writer {
	if o.format != printer.Text {
		return o.env.ErrOut
	}
	return o.env.Out
}

func (o *options) say(format string, args ...any) {
	_, _ = fmt.Fprintln(o.text(), o.env.Terminal.View().Theme.Clean(fmt.Sprintf(format, args...))) // A closed terminal does not stop the rollout.
}

func (o *options) run(ctx context.Context, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	named, err := parseTargets(args, o.namespaces)
	if err != nil {
		return err
	}
	s := &session{options: o, named: named}
	if s.file, err = o.readFile(); err != nil {
		return err
	}
	if s.client, err = o.env.Client(); err != nil {
		return err
	}
	r, err := s.rollout(ctx)
	if r == nil || err != nil {
		return err
	}
	if o.detach {
		o.say("The rollout goes on. Come back to it with: %s", s.back(r))
		return s.print(r)
	}
	last, err := s.follow(ctx, r)
	if perr := s.print(last); perr != nil {
		return errors.Join(err, perr)
	}
	return err
}

// print writes the object for scripts.
func (s *session) print(r *v1alpha1.DataPlaneRollout) error {
	if s.format == printer.Text || r == nil {
		return nil
	}
	return s.format.WriteObject(s.env.Out, r, env.Scheme())
}

// back is the exact command that comes back to the rollout.
func (s *session) back(r *v1alpha1.DataPlaneRollout) string {
	return s.env.Program + " rollout --attach " + r.Name
}

// rollout returns the one to show: the named one, the one that runs, or a new one. It returns nil when there is nothing to
// move or the user does not want to.
func (s *session) rollout(ctx context.Context) (*v1alpha1.DataPlaneRollout, error) {
	if s.attach != "" {
		return find(ctx, s.env, s.client, s.attach)
	}
	var err error
	name := s.options.upgrade
	if s.file != nil {
		name = cmp.Or(name, s.file.Spec.Upgrade)
	}
	if s.upgrade, err = s.env.Upgrade(ctx, s.client, name); err != nil {
		return nil, err
	}
	if s.rollouts, err = s.env.Rollouts(ctx, s.client); err != nil {
		return nil, err
	}
	if r := view.Running(s.rollouts, s.upgrade.Name); r != nil && !s.dryRun {
		s.say("Rollout %s runs already (%s): this is it.", r.Name, rollout.Summary(r.Status.Counts))
		if len(s.named) > 0 || s.options.back || s.file != nil {
			s.say("What was asked for now is ignored; run the command again when it is complete.")
		}
		return r, nil
	}
	return s.start(ctx)
}

// direction of a new rollout.
func (s *session) direction() v1alpha1.Direction {
	if s.options.back || s.file != nil && s.file.Spec.Direction == v1alpha1.Back {
		return v1alpha1.Back
	}
	return v1alpha1.Forward
}

// object is the rollout as it would be created.
func (s *session) object(targets []v1alpha1.RolloutTarget) *v1alpha1.DataPlaneRollout {
	if s.file != nil {
		r := s.file.DeepCopy()
		r.Name, r.Spec.Upgrade = cmp.Or(r.Name, intent.NextRollout(s.upgrade.Name, s.rollouts)), s.upgrade.Name
		return r
	}
	r := &v1alpha1.DataPlaneRollout{
		ObjectMeta: metav1.ObjectMeta{Name: intent.NextRollout(s.upgrade.Name, s.rollouts)},
		Spec: v1alpha1.DataPlaneRolloutSpec{
			Upgrade: s.upgrade.Name, Direction: s.direction(), Targets: targets, Parallelism: new(s.parallelism),
			FailurePolicy: v1alpha1.FailurePolicy(s.policy), Timeout: metav1.Duration{Duration: s.timeout},
		},
	}
	s.pace.apply(&r.Spec)
	return r
}

func (s *session) start(ctx context.Context) (*v1alpha1.DataPlaneRollout, error) {
	cp, err := s.env.ControlPlane(ctx, s.client)
	if err != nil {
		return nil, err
	}
	s.cluster, s.istio = cp, env.IstioNamespace(cp)
	inv, err := s.env.Inventory(ctx, s.client, s.istio)
	if err != nil {
		return nil, s.env.API(fmt.Errorf("read the mesh: %w", err))
	}
	exists := func(ns string) bool { _, ok := inv.Namespaces[ns]; return ok }
	v := gate.StartRollout(gate.RolloutInput{Rollout: s.object(nil), Upgrade: s.upgrade, Others: s.rollouts, HasNamespace: exists})
	if from, to := s.revisions(); !v.Passed() && (!s.dryRun || from == "" || to == "") {
		return nil, exit.Refusedf("%s", v.Message)
	}
	groups, err := pick(s.groups(inv), s.named, exists)
	if err != nil {
		return nil, err
	}
	if len(everything(groups)) == 0 {
		s.nothing(groups)
		return nil, nil
	}
	switch {
	case s.dryRun:
		return nil, s.preview(inv, groups, v)
	case s.file != nil:
		return s.startFile(ctx, inv, groups)
	}
	chosen, err := s.choose(groups)
	if err != nil {
		return nil, err
	}
	if a, b, _ := tally(groups, chosen); a+b == 0 {
		return nil, exit.Refusedf("Nothing was chosen, nothing was changed.") // No targets would mean all.
	}
	return s.create(ctx, spec(groups, chosen, s.named))
}

// revisions of the upgrade; both are known once it is accepted, which the gate has asked.
func (s *session) revisions() (from, to string) {
	if s.upgrade.Status.From != nil {
		from = s.upgrade.Status.From.Revision
	}
	if s.upgrade.Status.To != nil {
		to = s.upgrade.Status.To.Revision
	}
	return from, to
}

func (s *session) groups(inv *mesh.Inventory) []view.Group {
	from, to := s.revisions()
	items := rollout.Plan(inv, from, to, s.direction())
	if s.file != nil {
		items = slices.DeleteFunc(items, func(i rollout.Item) bool { return !rollout.Selected(s.file.Spec.Targets, i.Ref) })
	}
	return view.Groups(items)
}

// goal is the revision that data planes move to, with its version.
func (s *session) goal() string {
	ref := s.upgrade.Status.To
	if s.direction() == v1alpha1.Back {
		ref = s.upgrade.Status.From
	}
	if ref == nil {
		return "the other revision"
	}
	return "Istio " + ref.Version + " (revision " + ref.Revision + ")"
}

// nothing says why there is nothing to move.
func (s *session) nothing(groups []view.Group) {
	stay := 0
	for _, g := range groups {
		n, _ := g.Count(func(d view.DataPlane) bool { return d.State != string(rollout.Moved) })
		stay += n
	}
	if stay == 0 {
		s.say("Nothing to move: everything chosen runs on %s.", s.goal())
		return
	}
	s.say("Nothing to move: %s cannot or must not be moved by Meshlift.", view.Count(stay, "data plane"))
	_, _ = io.WriteString(s.text(), view.GroupsText(view.Remaining(groups), s.env.Terminal.View()))
}

// choose asks the user, as well as the terminal allows. Not wanting to is a refusal.
func (s *session) choose(groups []view.Group) (map[string]bool, error) {
	if s.interactive() {
		m, err := s.play(newChooser("Move data planes to "+s.goal(), groups, s.env.Terminal.View()))
		if err != nil {
			return nil, fmt.Errorf("show the list: %w", err)
		}
		if c, ok := m.(*chooser); ok && c.confirmed {
			return c.chosen, nil
		}
		return nil, exit.Refusedf("Nothing was changed.")
	}
	chosen := everything(groups)
	s.say("Data planes to move to %s:", s.goal())
	_, _ = io.WriteString(s.text(), view.GroupsText(view.Remaining(groups), s.env.Terminal.View()))
	if s.noPrompt || !s.env.Terminal.CanAsk() {
		return chosen, nil
	}
	ok, err := s.env.Confirm("Move " + inWords(groups, chosen) + "? Long connections are cut once.")
	if err == nil && !ok {
		err = exit.Refusedf("Nothing was changed.")
	}
	return chosen, err
}

// create makes the rollout. When somebody else took the name meanwhile the next one is tried.
func (s *session) create(ctx context.Context, targets []v1alpha1.RolloutTarget) (*v1alpha1.DataPlaneRollout, error) {
	by := s.env.User(ctx, s.client)
	for {
		r := s.object(targets)
		intent.RequestedBy(r, by)
		err := s.client.Create(ctx, r)
		if apierrors.IsAlreadyExists(err) && (s.file == nil || s.file.Name == "") {
			s.rollouts = append(s.rollouts, *r)
			continue
		}
		if err != nil {
			return nil, s.env.API(fmt.Errorf("create DataPlaneRollout %q: %w", r.Name, err))
		}
		s.say("DataPlaneRollout %s created: %s", r.Name, targetsInWords(targets))
		return r, nil
	}
}

func targetsInWords(targets []v1alpha1.RolloutTarget) string {
	if len(targets) == 0 {
		return "every data plane of the cluster"
	}
	var out []string
	for _, t := range targets {
		out = append(out, target{t.Namespace, t.Kind, t.Name}.String())
	}
	if more := len(out) - 5; more > 0 {
		out = append(out[:5], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}

// terminal runs a terminal interface on the streams of the command.
func (o *options) terminal(m tea.Model) (tea.Model, error) {
	return tea.NewProgram(m,
		tea.WithInput(o.env.In), tea.WithOutput(o.env.Out), tea.WithEnvironment(o.env.Terminal.Environ), tea.WithoutSignalHandler(),
	).Run()
}
