package upgrade

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
	"meshlift.dev/meshlift/internal/view"
)

// Wait follows the upgrade until the condition is true, and prints each change of the step that it is at, as one line.
// It ends early with a refusal when the upgrade is not accepted, with an error when the step failed, and as unfinished
// when the time is over or the user interrupts; the upgrade goes on in each case.
func Wait(ctx context.Context, e *env.Env, c client.WithWatch, u *v1alpha1.ClusterUpgrade, condition string, limit time.Duration, verbose bool) (*v1alpha1.ClusterUpgrade, error) {
	ctx, cancel := env.Deadline(ctx, limit)
	defer cancel()
	w := waiter{env: e, condition: condition, verbose: verbose}
	last := u
	for update := range follow.Object(ctx, c, u, &v1alpha1.ClusterUpgradeList{}, e.Resync) {
		switch {
		case update.Gone:
			return last, fmt.Errorf("ClusterUpgrade %q is gone", u.Name)
		case update.Fatal:
			return last, e.API(update.Err)
		case update.Err != nil:
			w.say("the cluster does not answer, trying again: " + update.Err.Error())
			continue
		}
		last = update.Object
		if done, err := w.judge(last); done || err != nil {
			return last, err
		}
	}
	why := "detached"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		why = "not finished after " + limit.String()
	}
	return last, exit.Unfinishedf("%s; the upgrade goes on: watch it with %q", why, e.Program+" status --watch")
}

type waiter struct {
	env       *env.Env
	condition string
	verbose   bool
	said      string
}

func (w *waiter) say(line string) {
	if line == w.said || line == "" {
		return
	}
	w.said = line
	if w.verbose {
		_, _ = fmt.Fprintln(w.env.Out, w.env.Now().Format(time.TimeOnly)+"  "+view.Theme{}.Clean(line))
	}
}

func (w *waiter) judge(u *v1alpha1.ClusterUpgrade) (done bool, err error) {
	if u.Status.ObservedGeneration < u.Generation {
		w.say("waiting for the agent to look at ClusterUpgrade " + u.Name)
		return false, nil
	}
	if view.Refused(u) {
		return false, exit.Refusedf("%s", meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionAccepted).Message)
	}
	for _, s := range view.Steps(u) {
		if s.Condition == w.condition || s.State != view.StepDone {
			w.say(fmt.Sprintf("%s %d %s: %s", s.State.Glyph(), s.Number, s.Title, s.Message))
		}
		if s.Condition == w.condition {
			switch {
			case s.State == view.StepDone:
				return true, nil
			case s.State == view.StepFailed && s.Reason == v1alpha1.ReasonInstallFailed:
				return false, errors.New(s.Message)
			case s.Reason == v1alpha1.ReasonPaused:
				return false, exit.Unfinishedf("%s", s.Message)
			}
			return false, nil
		}
		if s.State != view.StepDone {
			return false, nil
		}
	}
	c := meta.FindStatusCondition(u.Status.Conditions, w.condition)
	return c != nil && c.Status == metav1.ConditionTrue, nil
}
