package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

// follow shows the rollout until its end, until a decision is needed that nobody can be asked for, or until the user
// leaves. It returns the last version, and the error that the outcome means.
func (s *session) follow(ctx context.Context, r *v1alpha1.DataPlaneRollout) (*v1alpha1.DataPlaneRollout, error) {
	ctx, cancel := env.Deadline(ctx, s.waitTimeout)
	defer cancel()
	if s.interactive() {
		return s.live(ctx, r)
	}
	return s.plain(ctx, r)
}

// plain prints one line per event.
func (s *session) plain(ctx context.Context, r *v1alpha1.DataPlaneRollout) (*v1alpha1.DataPlaneRollout, error) {
	var shown *v1alpha1.DataPlaneRollout
	last, trouble := r, ""
	for u := range follow.Object(ctx, s.client, r, &v1alpha1.DataPlaneRolloutList{}, s.env.Resync) {
		switch {
		case u.Gone:
			return last, fmt.Errorf("DataPlaneRollout %q is gone", r.Name)
		case u.Fatal:
			return last, s.env.API(u.Err)
		case u.Err != nil:
			if trouble == "" {
				s.line("the cluster does not answer, trying again; the rollout goes on: " + u.Err.Error())
			}
			trouble = u.Err.Error()
			continue
		}
		if trouble != "" {
			s.line("the cluster answers again")
			trouble = ""
		}
		last = u.Object
		for _, l := range view.Changes(shown, last, s.env.Now()) {
			s.line(l)
		}
		shown = last
		if view.Complete(last) || view.Waits(last) {
			return last, s.outcome(last)
		}
	}
	return last, s.left(ctx, last)
}

func (s *session) line(text string) {
	s.say("%s  %s", s.env.Now().Format(time.TimeOnly), text)
}

// live shows the terminal interface.
func (s *session) live(ctx context.Context, r *v1alpha1.DataPlaneRollout) (*v1alpha1.DataPlaneRollout, error) {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	updates := follow.Object(following, s.client, r, &v1alpha1.DataPlaneRolloutList{}, s.env.Resync)
	edit := editor{s.env, s.client, r.Name}
	l := link{
		next: func() updateMsg { u, open := <-updates; return updateMsg{u, open} },
		decide: func(f []v1alpha1.WorkloadFailure, d v1alpha1.Decision) error {
			return edit.decide(following, f, d)
		},
		stop:  func() error { return edit.stop(following) },
		pause: func(p bool) error { return edit.pause(following, p) },
		now:   s.env.Now,
	}
	if s.prepareLook(following, r) {
		l.look = func() groupsMsg { return s.look(following, r.Spec.Direction) }
	}
	m, err := s.play(newProgress(r, nil, s.env.Terminal.View(), l))
	if err != nil {
		return r, fmt.Errorf("show the progress (the rollout goes on; come back with %q): %w", s.back(r), err)
	}
	p, ok := m.(*progress)
	if !ok {
		return r, nil
	}
	switch {
	case p.gone:
		return p.rollout, fmt.Errorf("DataPlaneRollout %q is gone", r.Name)
	case p.fatal != nil:
		return p.rollout, s.env.API(p.fatal)
	case view.Complete(p.rollout):
		return p.rollout, s.outcome(p.rollout)
	}
	return p.rollout, s.left(ctx, p.rollout)
}

// prepareLook makes sure that the upgrade and the namespace of Istio are known; without them there are no bars by namespace.
func (s *session) prepareLook(ctx context.Context, r *v1alpha1.DataPlaneRollout) bool {
	if s.upgrade == nil {
		u, err := s.env.Upgrade(ctx, s.client, r.Spec.Upgrade)
		if err != nil {
			return false
		}
		s.upgrade = u
	}
	if s.istio == "" {
		cp, err := s.env.ControlPlane(ctx, s.client)
		if err != nil {
			return false
		}
		s.istio = env.IstioNamespace(cp)
	}
	return s.upgrade.Status.From != nil && s.upgrade.Status.To != nil
}

// look reads the data planes with the credentials of the user.
func (s *session) look(ctx context.Context, d v1alpha1.Direction) groupsMsg {
	begin := s.env.Now()
	inv, err := s.env.Inventory(ctx, s.client, s.istio)
	if err != nil {
		return groupsMsg{err: err, cost: s.env.Now().Sub(begin)}
	}
	from, to := s.revisions()
	groups := view.Groups(rollout.Plan(inv, from, to, d))
	return groupsMsg{groups: groups, cost: s.env.Now().Sub(begin)}
}

// left is the end of a look at a rollout that goes on.
func (s *session) left(ctx context.Context, r *v1alpha1.DataPlaneRollout) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.say("Not complete after %s (%s).", s.waitTimeout, rollout.Summary(r.Status.Counts))
	}
	s.say("The rollout goes on. Come back to it with: %s", s.back(r))
	return exit.Silent(exit.Unfinished)
}

// outcome says how the rollout ended, or that it waits, and turns that into an exit code.
func (s *session) outcome(r *v1alpha1.DataPlaneRollout) error {
	c := r.Status.Counts
	summary := rollout.Summary(c)
	switch {
	case !view.Complete(r):
		s.say("The rollout waits for you: %s.", summary)
		for _, f := range view.Undecided(r) {
			s.say("  %s", view.Name(f.WorkloadReference))
		}
		s.say("Decide with: %s rollout retry|skip|move-back [NAMESPACE/KIND/NAME], or end it with: %s rollout stop", s.env.Program, s.env.Program)
		return exit.Silent(exit.MovesFailed)
	case c.Failed > 0:
		s.say("Ended with failures: %s.", summary)
		for _, f := range r.Status.Failures {
			s.say("  %s", view.FailureLine(f))
		}
		return exit.Silent(exit.MovesFailed)
	case r.Spec.Stopped && c.Pending > 0:
		s.say("Stopped: %s, %d left.", summary, c.Pending)
		return exit.Silent(exit.Unfinished)
	}
	s.say("Done: %s.", summary)
	if r.Spec.Direction != v1alpha1.Back {
		s.say("Next: %s status", s.env.Program)
	}
	return nil
}
