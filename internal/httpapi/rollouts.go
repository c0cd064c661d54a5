package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// Rollout moves data planes.
type Rollout struct {
	Name      string     `json:"name"`
	Upgrade   string     `json:"upgrade"`
	Direction string     `json:"direction" enum:"Forward,Back"`
	Targets   []Target   `json:"targets" nullable:"false" doc:"None means every data plane of the cluster."`
	Created   time.Time  `json:"created"`
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
	Paused    bool       `json:"paused"`
	Stopped   bool       `json:"stopped"`
	Complete  bool       `json:"complete"`
	Waits     bool       `json:"waits" doc:"It does nothing more until somebody decides about its failures."`
	Message   string     `json:"message,omitempty"`
	Total     int32      `json:"total"`
	Done      int32      `json:"done"`
	Moving    int32      `json:"moving"`
	Failed    int32      `json:"failed"`
	Skipped   int32      `json:"skipped"`
	Pending   int32      `json:"pending"`
	InMotion  []Motion   `json:"inMotion" nullable:"false"`
	Failures  []Failed   `json:"failures" nullable:"false"`
}

// Target is a namespace, or one workload.
type Target struct {
	Namespace string `json:"namespace" minLength:"1"`
	Kind      string `json:"kind,omitempty"`
	Name      string `json:"name,omitempty"`
}

// Motion is a workload that moves.
type Motion struct {
	Target
	Attempt int32  `json:"attempt"`
	Message string `json:"message"`
}

// Failed is a workload that could not be moved.
type Failed struct {
	Target
	Failure
}

// NewRollout asks to move data planes.
type NewRollout struct {
	Direction     string   `json:"direction,omitempty" enum:"Forward,Back" default:"Forward"`
	Targets       []Target `json:"targets,omitempty" maxItems:"10000" doc:"Namespaces or workloads. None is refused unless all is true."`
	All           bool     `json:"all,omitempty" doc:"Every data plane of the cluster."`
	Parallelism   *int32   `json:"parallelism,omitempty" minimum:"0" doc:"Workloads at the same time; 0 means no limit."`
	FailurePolicy string   `json:"failurePolicy,omitempty" enum:"Stop,Continue,MoveBack,MoveBackAndContinue"`
}

type InRollout struct {
	InCluster
	Rollout string `path:"rollout"`
}

func rollouts(s *Server) {
	const one = "/clusters/{cluster}/rollouts/{rollout}"
	add(s, http.MethodGet, "/clusters/{cluster}/rollouts", "listRollouts", "The rollouts of a cluster, newest first", need{theMesh, "get", ""}, s.listRollouts)
	add(s, http.MethodPost, "/clusters/{cluster}/rollouts", "startRollout", "Move one, several or all data planes, or move them back (step 4)", need{theMesh, "create", "rollouts"}, s.startRollout)
	add(s, http.MethodGet, one, "getRollout", "One rollout", need{theMesh, "get", ""}, s.getRollout)
	for _, verb := range []struct {
		path, id, summary string
		change            func(*v1alpha1.DataPlaneRolloutSpec) bool
	}{
		{"pause", "pauseRollout", "Start no new move; moves in flight finish", func(r *v1alpha1.DataPlaneRolloutSpec) bool { return intent.Set(&r.Paused, true) }},
		{"resume", "resumeRollout", "Go on", func(r *v1alpha1.DataPlaneRolloutSpec) bool { return intent.Set(&r.Paused, false) }},
		{"stop", "stopRollout", "End the rollout; moves in flight finish", func(r *v1alpha1.DataPlaneRolloutSpec) bool { return intent.Set(&r.Stopped, true) }},
	} {
		add(s, http.MethodPost, one+"/"+verb.path, verb.id, verb.summary, need{theMesh, "update", "rollouts"}, func(ctx context.Context, in *InRollout) (*out[Rollout], error) {
			return s.editRollout(ctx, in, func(r *v1alpha1.DataPlaneRollout) (bool, error) {
				return verb.change(&r.Spec), nil
			})
		})
	}
	add(s, http.MethodPost, one+"/decide", "decide", "Retry (Re-upgrade), skip or move back what failed", need{theMesh, "update", "rollouts"}, s.decide)
}

func rolloutOf(r *v1alpha1.DataPlaneRollout) Rollout {
	c := r.Status.Counts
	v := Rollout{
		Name: r.Name, Upgrade: r.Spec.Upgrade, Direction: string(r.Spec.Direction), Targets: []Target{}, Created: r.CreationTimestamp.UTC(),
		Started: view.Instant(r.Status.StartedAt), Completed: view.Instant(r.Status.CompletedAt), Paused: r.Spec.Paused, Stopped: r.Spec.Stopped,
		Complete: view.Complete(r), Waits: view.Waits(r), Message: view.ConditionMessage(r.Status.Conditions, v1alpha1.ConditionComplete),
		Total: c.Total, Done: c.Done, Moving: c.Moving, Failed: c.Failed, Skipped: c.Skipped, Pending: c.Pending, InMotion: []Motion{}, Failures: []Failed{},
	}
	for _, t := range r.Spec.Targets {
		v.Targets = append(v.Targets, Target(t))
	}
	for _, m := range r.Status.Moving {
		v.InMotion = append(v.InMotion, Motion{Target{m.Namespace, m.Kind, m.Name}, m.Attempt, m.Message})
	}
	for _, f := range r.Status.Failures {
		v.Failures = append(v.Failures, Failed{Target{f.Namespace, f.Kind, f.Name}, failureOf(r, f)})
	}
	return v
}

func (s *Server) listRollouts(ctx context.Context, in *struct {
	InCluster
	Paging
},
) (*out[Page[Rollout]], error) {
	reader, err := s.options.Members.Cached(in.Cluster)
	if err != nil {
		return nil, err
	}
	var list v1alpha1.DataPlaneRolloutList
	if err := reader.List(ctx, &list); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.DataPlaneRollout) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(b.Name, a.Name)
	})
	cut, err := paged(list.Items, in.Paging)
	if err != nil {
		return nil, err
	}
	page := Page[Rollout]{Items: []Rollout{}, Total: cut.Total, Continue: cut.Continue}
	for n := range cut.Items {
		page.Items = append(page.Items, rolloutOf(&cut.Items[n]))
	}
	return body(page), nil
}

func (s *Server) getRollout(ctx context.Context, in *InRollout) (*out[Rollout], error) {
	c, err := s.options.Members.Client(in.Cluster)
	if err != nil {
		return nil, err
	}
	r := &v1alpha1.DataPlaneRollout{}
	if err := c.Get(ctx, client.ObjectKey{Name: in.Rollout}, r); err != nil {
		return nil, err
	}
	return body(rolloutOf(r)), nil
}

func (s *Server) editRollout(ctx context.Context, in *InRollout, change func(*v1alpha1.DataPlaneRollout) (bool, error)) (*out[Rollout], error) {
	c, err := s.options.Members.Client(in.Cluster)
	if err != nil {
		return nil, err
	}
	r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: in.Rollout}}
	if err := edit(ctx, c, r, change); err != nil {
		return nil, err
	}
	s.inventories.forget(in.Cluster)
	return body(rolloutOf(r)), nil
}

func (s *Server) startRollout(ctx context.Context, in *struct {
	InCluster
	Body NewRollout
},
) (*out[Rollout], error) {
	if in.Body.All == (len(in.Body.Targets) > 0) {
		return nil, problemf(http.StatusBadRequest, "name targets or ask for all, not both")
	}
	c, u, err := s.running(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	spec := v1alpha1.DataPlaneRolloutSpec{
		Upgrade: u.Name, Direction: v1alpha1.Direction(in.Body.Direction), Parallelism: in.Body.Parallelism, FailurePolicy: v1alpha1.FailurePolicy(in.Body.FailurePolicy),
		Timeout: metav1.Duration{Duration: 10 * time.Minute},
	}
	for _, t := range in.Body.Targets {
		spec.Targets = append(spec.Targets, v1alpha1.RolloutTarget(t))
	}
	var list v1alpha1.DataPlaneRolloutList
	if err := c.List(ctx, &list); err != nil {
		return nil, err
	}
	for {
		r := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: intent.NextRollout(u.Name, list.Items)}, Spec: spec}
		intent.RequestedBy(r, of(ctx).user.Name)
		err := c.Create(ctx, r)
		if apierrors.IsAlreadyExists(err) { // somebody else took the name meanwhile
			list.Items = append(list.Items, *r)
			continue
		}
		if err != nil {
			return nil, err
		}
		s.inventories.forget(in.Cluster)
		return body(rolloutOf(r)), nil
	}
}

func (s *Server) decide(ctx context.Context, in *struct {
	InRollout
	Body struct {
		Action  string   `json:"action" enum:"Retry,Skip,MoveBack"`
		Targets []Target `json:"targets,omitempty" doc:"Workloads that failed; none means all that wait."`
	}
},
) (*out[Rollout], error) {
	return s.editRollout(ctx, &in.InRollout, func(r *v1alpha1.DataPlaneRollout) (bool, error) {
		chosen := view.Undecided(r)
		if len(in.Body.Targets) > 0 {
			chosen = nil
			for _, t := range in.Body.Targets {
				n := slices.IndexFunc(r.Status.Failures, func(f v1alpha1.WorkloadFailure) bool { return Target{f.Namespace, f.Kind, f.Name} == t })
				if n < 0 {
					return false, problemf(http.StatusNotFound, "%s/%s/%s has not failed in rollout %s", t.Namespace, t.Kind, t.Name, r.Name)
				}
				chosen = append(chosen, r.Status.Failures[n])
			}
		}
		changed := false
		for _, f := range chosen {
			changed = intent.Decide(r, f, v1alpha1.Decision(in.Body.Action)) || changed
		}
		return changed, nil
	})
}
