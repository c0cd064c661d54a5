package upgrade

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// Action is the one thing to do next. Every action can be repeated; a crash in the middle of one ends where no crash
// would have.
type Action string

// Actions of an upgrade, in the order in which they follow each other.
const (
	Nothing Action = ""
	// Install brings the CRDs and the new istiod up to the target, beside the old one.
	Install Action = "Install"
	// Handover puts the handover and its guards into admission, and keeps them there.
	Handover Action = "Handover"
	// SwitchOver moves namespace labels, tags and the default validator to the new revision. Nothing restarts.
	SwitchOver Action = "SwitchOver"
	// EndHandover takes the handover out of admission; the guards stay.
	EndHandover Action = "EndHandover"
	// ScaleDown scales the old istiod to zero, ready to come back.
	ScaleDown Action = "ScaleDown"
	// ScaleUp brings the old istiod back, because the decommission was withdrawn.
	ScaleUp Action = "ScaleUp"
	// Uninstall removes the old istiod, what it leaves behind, and the guards.
	Uninstall Action = "Uninstall"
)

// Step is the condition that the action works for.
func (a Action) Step() string {
	switch a {
	case Nothing:
		return ""
	case Install:
		return v1alpha1.ConditionControlPlaneReady
	case Handover:
		return v1alpha1.ConditionDataPlanesMoved
	}
	return v1alpha1.ConditionDecommissioned
}

// ControlPlaneFacts is what the verification of the new istiod found.
type ControlPlaneFacts struct {
	Ready bool
	// Installed is true when an installation for the present wish has ended well and its parts are there, so that it is
	// only waited for.
	Installed bool
	// Message says what is missing, in one sentence.
	Message string
	// Failed is the reason why the last installation failed and was removed; "" when it did not.
	Failed string
}

// Admission is what of a handover is in place.
type Admission struct{ Handover, Guards bool }

// Snapshot is everything that a decision looks at.
type Snapshot struct {
	Inventory *mesh.Inventory
	// Refused is why the upgrade may not start, with its reason; "" when it may.
	Refused, RefusedReason string
	From, To               v1alpha1.RevisionRef
	ControlPlane           ControlPlaneFacts
	Connections            Connections
	Admission              Admission
	Hub                    Hub
}

// Input is what a decision depends on.
type Input struct {
	Spec     v1alpha1.ClusterUpgradeSpec
	Status   v1alpha1.ClusterUpgradeStatus
	Snapshot Snapshot
	Now      time.Time
}

// Step is one of the six conditions before Ready.
type Step struct {
	Type            string
	Done            bool
	Reason, Message string
}

// Decision is what to do and what to tell.
type Decision struct {
	Action Action
	// Maintain asks for the handover to be kept as it is, besides the action: it was established before, and an earlier
	// step is open again.
	Maintain bool
	// Steps are the conditions Accepted to Decommissioned, in order.
	Steps []Step
	// Step is the step in one short phrase, for the eye.
	Step            string
	DataPlanes      v1alpha1.DataPlaneCounts
	EnvoyFilters    []v1alpha1.EnvoyFilterStatus
	Blockers        []v1alpha1.Blocker
	BlockersOmitted int32
	// Glass says that the permission of the hub is overridden, and why; "" when it is not.
	Glass string
	// Again is how long to wait before looking again without any event; 0 for not at all.
	Again time.Duration
}

// Done tells whether all steps are.
func (d Decision) Done() bool { return d.Steps[len(d.Steps)-1].Done }

// How long an upgrade waits for an event: soon while something is under way, later when connections with istiods matter,
// which no watch brings, and seldom when everything that matters is watched.
const (
	soon   = time.Second
	later  = 15 * time.Second
	seldom = 10 * time.Minute
)

var titles = []string{"refused", "1/5 components", "2/5 new istiod", "3/5 EnvoyFilters", "4/5 data planes", "5/5 decommission"}

// Decide looks at the steps in order and stops at the first one that is not done.
func Decide(in Input) Decision {
	d := &decision{in: in, inv: in.Snapshot.Inventory}
	steps := []func() Step{d.accepted, d.components, d.controlPlane, d.envoyFilters, d.dataPlanes, d.decommission}
	if r := in.Status.Decommission; r != nil && r.RemovedAt != nil {
		return d.finished()
	}
	if in.Snapshot.Refused == "" {
		d.plan = rollout.Plan(d.inv, d.in.Snapshot.From.Revision, d.in.Snapshot.To.Revision, v1alpha1.Forward)
	}
	waiting := ""
	for n, step := range steps {
		if waiting != "" {
			kind := stepTypes[n]
			d.out.Steps = append(d.out.Steps, Step{Type: kind, Reason: v1alpha1.ReasonWaiting, Message: "waits for step " + waiting})
			continue
		}
		s := step()
		s.Type = stepTypes[n]
		d.out.Steps = append(d.out.Steps, s)
		if !s.Done {
			waiting, d.out.Step = titles[n], titles[n]
		}
	}
	d.count()
	d.out.Maintain = in.Status.Decommission == nil && d.out.Action != Handover && (in.Snapshot.Admission.Handover || in.Snapshot.Admission.Guards) && in.Spec.Decommission == nil
	if in.Status.From == nil && in.Snapshot.Refused == "" {
		// The acceptance is written down before anything is done for it: after a crash in the middle of the installation,
		// the revision that is half there must be known to be ours.
		d.out.Action, d.out.Again = Nothing, time.Millisecond
	}
	return d.out
}

var stepTypes = []string{
	v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady,
	v1alpha1.ConditionEnvoyFiltersHandled, v1alpha1.ConditionDataPlanesMoved, v1alpha1.ConditionDecommissioned,
}

type decision struct {
	in  Input
	inv *mesh.Inventory
	// plan is made once: it looks at every workload.
	plan []rollout.Item
	out  Decision
}

func (d *decision) finished() Decision {
	from, to := d.in.Snapshot.From, d.in.Snapshot.To
	for n, t := range stepTypes {
		message := ""
		for _, c := range d.in.Status.Conditions {
			if c.Type == t {
				message = c.Message
			}
		}
		if n == len(stepTypes)-1 {
			message = fmt.Sprintf("istiod %s is removed; every data plane runs on %s", from.Revision, to.Revision)
		}
		d.out.Steps = append(d.out.Steps, Step{Type: t, Done: true, Reason: v1alpha1.ReasonDone, Message: message})
	}
	d.out.Step = "done"
	d.out.DataPlanes, d.out.EnvoyFilters = d.in.Status.DataPlanes, d.in.Status.EnvoyFilters
	return d.out
}

func done(format string, args ...any) Step {
	return Step{Done: true, Reason: v1alpha1.ReasonDone, Message: fmt.Sprintf(format, args...)}
}

func unmet(reason, format string, args ...any) Step {
	return Step{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func (d *decision) accepted() Step {
	s := d.in.Snapshot
	if s.Refused != "" {
		d.out.Again = later
		return unmet(s.RefusedReason, "%s", s.Refused)
	}
	return done("Istio %s (revision %s) to %s (revision %s) is supported on Kubernetes %s", s.From.Version, s.From.Revision, s.To.Version, s.To.Revision, d.inv.KubernetesVersion)
}

func (d *decision) controlPlane() Step {
	s := d.in.Snapshot
	if s.ControlPlane.Ready {
		return done("istiod %s (revision %s) runs beside %s: available, injects, serves xDS", s.To.Version, s.To.Revision, s.From.Revision)
	}
	d.out.Again = soon
	if d.in.Spec.Paused {
		return unmet(v1alpha1.ReasonPaused, "the upgrade is paused before istiod %s is ready: resume it with \"meshlift upgrade resume\"", s.To.Revision)
	}
	if s.ControlPlane.Failed != "" {
		d.out.Again = 0
		return unmet(v1alpha1.ReasonInstallFailed, "%s", s.ControlPlane.Failed)
	}
	d.out.Action = Install
	return unmet(v1alpha1.ReasonInProgress, "istiod %s is being installed: %s", s.To.Revision, orStarting(s.ControlPlane.Message))
}

func orStarting(s string) string {
	if s == "" {
		return "starting"
	}
	return s
}

// dataPlanes is step 4. The handover is in place while it is the current step, so that rollouts can move data planes.
func (d *decision) dataPlanes() Step {
	from, to := d.in.Snapshot.From.Revision, d.in.Snapshot.To.Revision
	if !d.switched() {
		d.out.Action = Handover
	}
	remaining, unsupported := 0, 0
	for _, i := range d.plan {
		if !i.Remaining {
			continue
		}
		remaining++
		if i.State == rollout.Unsupported {
			unsupported++
		}
	}
	d.out.Again = seldom
	d.list(Connections{Known: true})
	if remaining > 0 {
		s := unmet(v1alpha1.ReasonDataPlanesRemain, "%d data planes remain on revision %s: move them with \"meshlift rollout\"", remaining, from)
		if unsupported > 0 {
			s.Message += fmt.Sprintf(" (%d of them only by hand, see \"meshlift plan\")", unsupported)
		}
		return s
	}
	return done("every data plane runs on revision %s", to)
}

// switched tells whether namespaces, tags and the default validator name the old revision no longer.
func (d *decision) switched() bool {
	return d.in.Status.Decommission != nil && len(Switchable(d.inv, d.in.Snapshot.From.Revision)) == 0
}

func (d *decision) decommission() Step {
	s, spec, status := d.in.Snapshot, d.in.Spec.Decommission, d.in.Status.Decommission
	from := s.From.Revision
	d.out.Again = later
	if spec == nil {
		if status != nil && status.ScaledDownAt != nil {
			d.out.Action, d.out.Again = ScaleUp, soon
			return unmet(v1alpha1.ReasonAborted, "the decommission of istiod %s was withdrawn: it is being scaled up again", from)
		}
		d.list(s.Connections)
		return unmet(v1alpha1.ReasonUserAction, "everything has moved; remove istiod %s with \"meshlift decommission\"", from)
	}
	permitted, wait := d.permitted()
	if _, exists := d.inv.Revision(from); !permitted && exists && status != nil && status.ScaledDownAt != nil {
		d.out.Action, d.out.Again = ScaleUp, soon
		return unmet(v1alpha1.ReasonAborted, "istiod %s is being scaled up again, because the hub took its permission back: %s", from, wait.Message)
	}
	if d.in.Spec.Paused {
		return unmet(v1alpha1.ReasonPaused, "the upgrade is paused before istiod %s is removed: resume it with \"meshlift upgrade resume\"", from)
	}
	d.out.Again = soon
	if blocked := d.list(s.Connections); !s.Connections.Known {
		return unmet(v1alpha1.ReasonUnknownUse, "istiod %s cannot be decommissioned: nobody knows which proxies are connected to it (%s); make every replica of it answer", from, s.Connections.Problem)
	} else if blocked > 0 {
		return unmet(v1alpha1.ReasonInUse, "istiod %s cannot be decommissioned: %d objects use it, the first is: %s", from, blocked, d.out.Blockers[0].Message)
	}
	if !permitted {
		d.out.Again = later
		return wait
	}
	return d.remove(from, spec)
}

// remove is the order of the decommission once nothing uses the old revision.
func (d *decision) remove(from string, spec *v1alpha1.DecommissionRequest) Step {
	s, status := d.in.Snapshot, d.in.Status.Decommission
	switchable := Switchable(d.inv, from)
	old, exists := d.inv.Revision(from)
	switch {
	case len(switchable) > 0:
		d.out.Action = SwitchOver
		return unmet(v1alpha1.ReasonInProgress, "namespaces, tags and the default validator are being moved to revision %s; first: %s", s.To.Revision, switchable[0].Message)
	case s.Admission.Handover:
		d.out.Action = EndHandover
		return unmet(v1alpha1.ReasonInProgress, "the handover is being taken out of the injection webhooks")
	case exists && old.Replicas > 0 || status == nil || status.ScaledDownAt == nil:
		d.out.Action = ScaleDown
		return unmet(v1alpha1.ReasonInProgress, "istiod %s is being scaled to zero", from)
	}
	if end := status.ScaledDownAt.Add(spec.Soak.Duration); d.in.Now.Before(end) {
		// No timer is longer than this: when the clock is set back, one that was made before would end too late.
		d.out.Again = min(end.Sub(d.in.Now), later)
		return unmet(v1alpha1.ReasonSoaking, "istiod %s is scaled to zero and watched until %s; withdraw the decommission to bring it back", from, end.UTC().Format(time.RFC3339))
	}
	d.out.Action = Uninstall
	return unmet(v1alpha1.ReasonInProgress, "istiod %s is being uninstalled", from)
}

// list puts the blockers into the decision, bounded, and returns how many there are.
func (d *decision) list(c Connections) int {
	all := Blockers(d.inv, d.in.Snapshot.From.Revision, c)
	n := min(len(all), MaxBlockers)
	d.out.Blockers, d.out.BlockersOmitted = all[:n], int32(len(all)-n) // #nosec G115 -- a cluster has fewer than 2^31 pods
	return len(all)
}

func (d *decision) count() {
	for _, i := range d.plan {
		d.out.DataPlanes.Total++
		switch {
		case !i.Remaining:
			d.out.DataPlanes.Moved++
		case i.Role.IsGateway():
			d.out.DataPlanes.Gateways++
		default:
			d.out.DataPlanes.Sidecars++
		}
	}
}
