// Package rollout decides which data plane moves next. It is pure: an inventory of the cluster and the wish of the user
// go in, moves and a report come out, and the state of every workload is derived from the cluster each time, so a crash
// between any two writes loses nothing.
package rollout

import (
	"fmt"
	"slices"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// State of one data plane on its way to the target revision.
type State string

// States of data planes.
const (
	// Pending: it runs on the other revision and nothing was asked of it.
	Pending State = "Pending"
	// Moving: its pod template asks for the target, and its pods are being replaced.
	Moving State = "Moving"
	// Moved: every live pod was injected by the target and is ready, and so will be the next one.
	Moved State = "Moved"
	// Failed: it was asked to move and did not become ready, or it may not be touched as it is.
	Failed State = "Failed"
	// Excluded: the annotation meshlift.dev/exclude keeps Meshlift from touching it, or its namespace is being deleted, so
	// that it can get no new pod.
	Excluded State = "Excluded"
	// Unsupported: Meshlift does not drive its kind or its update strategy.
	Unsupported State = "Unsupported"
)

// Item is one data plane of a plan.
type Item struct {
	Ref  mesh.Ref
	Role mesh.Role
	// Target is the revision that it is on its way to.
	Target string
	// Method is how it is moved; "" when Meshlift does not move it.
	Method Method
	// State on the way to the target.
	State State
	// Reason of the state Failed, in one word.
	Reason string
	// Message explains the state in one short sentence.
	Message string
	// OnRequest is true when it is touched only by a rollout that names it by kind and name.
	OnRequest bool
	// Warnings that are known beforehand.
	Warnings []string
	// Pods that live (those that are terminating do not count), and those of them injected by the target and ready.
	Pods, MovedPods int32
	// Remaining is true while the other revision is needed: a live pod runs on it, or the next pod would. A pod of the
	// target that is not ready does not need it.
	Remaining bool
	// Checking is true while its pods are ready and the health gates of a rollout have not let it pass.
	Checking bool
	// Gate is what a health gate saw that stopped it.
	Gate *v1alpha1.GateEvidence
}

// Plan returns every data plane of the two revisions with its state on the way from one to the other, gateways after
// sidecars, else by namespace, kind and name. Direction Back swaps the two revisions.
func Plan(inv *mesh.Inventory, from, to string, dir v1alpha1.Direction) []Item {
	if dir == v1alpha1.Back {
		from, to = to, from
	}
	var out []Item
	for _, w := range inv.Workloads {
		if !concerned(inv, w, from, to) {
			continue
		}
		i := onRequest(itemOf(inv, w, to))
		i.Remaining = w.Needs(from) || nextRevision(inv, w) != to
		out = append(out, i)
	}
	out = append(out, looseItems(inv, from, to)...)
	slices.SortStableFunc(out, compareItems)
	return out
}

func compareItems(a, b Item) int {
	if a.Role.IsGateway() != b.Role.IsGateway() {
		if a.Role.IsGateway() {
			return 1
		}
		return -1
	}
	return a.Ref.Compare(b.Ref)
}

// concerned tells whether the workload is a data plane of one of the revisions, was asked to become one, or has no pods
// at the moment and will have one of them. Pods that nobody injected are none of Meshlift's business.
func concerned(inv *mesh.Inventory, w mesh.Workload, from, to string) bool {
	if w.InUse(from) || w.InUse(to) || asked(w) != "" && (asked(w) == from || asked(w) == to) && len(w.Pods) > 0 {
		return true
	}
	idle := len(w.Pods) == 0 && w.Kind != mesh.KindReplicaSet // one without pods or a Deployment is a leftover
	return (w.Kind == mesh.KindGateway || idle) && slices.Contains([]string{from, to}, nextRevision(inv, w))
}

// asked is the revision that the pod template, or a claim, asks for by the handover label; "" for none.
func asked(w mesh.Workload) string { return w.NextLabels()[v1alpha1.RevisionLabel] }

func itemOf(inv *mesh.Inventory, w mesh.Workload, target string) Item {
	i := Item{Ref: w.Ref, Role: w.Role, Target: target, Method: MethodOf(w), OnRequest: w.Kind == mesh.KindReplicaSet, Warnings: Warnings(w)}
	for _, p := range w.Pods {
		if p.Terminating {
			continue
		}
		i.Pods++
		if p.Revision == target && p.Ready {
			i.MovedPods++
		}
	}
	next := nextRevision(inv, w)
	switch {
	case next == target && settled(w, target, i):
		i.State, i.Message = Moved, "on "+target
	case inv.Namespaces[w.Namespace].Terminating:
		i.State, i.Message = Excluded, fmt.Sprintf("namespace %s is being deleted", w.Namespace)
	case excluded(inv, w):
		i.State, i.Message = Excluded, "excluded by the annotation "+v1alpha1.ExcludeAnnotation
	case unsupported(inv, w) != "":
		i.State, i.Message = Unsupported, unsupported(inv, w)
	case next == target || asked(w) == target:
		i.State, i.Message = Moving, fmt.Sprintf("%d of %d pods ready on %s", i.MovedPods, w.Desired, target)
		if next != target {
			i.Message += "; admission does not route to it at the moment"
		}
		if why := obstacle(w); why != "" {
			i.Message += "; " + why
		}
	case refusal(inv, w) != (reason{}):
		why := refusal(inv, w)
		i.State, i.Reason, i.Message = Failed, why.word, why.sentence
	default:
		i.State, i.Message = Pending, "on "+running(w, next)
	}
	return i
}

// settled tells whether the workload's controller has nothing left to replace and every live pod is a ready one of the
// target. What an owner holds back by the update strategy is no part of a move.
func settled(w mesh.Workload, target string, i Item) bool {
	p := w.Progress
	rolled := p.ObservedGeneration >= p.Generation && p.Available >= w.Desired
	if !i.Method.evicts() && !Lowers(w) {
		rolled = rolled && p.Updated >= w.Desired && p.Replicas == p.Updated && !p.Behind
	}
	for _, pod := range w.Pods {
		if !pod.Terminating && pod.Revision != target {
			return false
		}
	}
	return rolled && i.Pods >= w.Desired && i.MovedPods >= w.Desired
}

// nextRevision is the revision that would inject the next pod; "" for none or several.
func nextRevision(inv *mesh.Inventory, w mesh.Workload) string {
	if w.Kind == mesh.KindGateway {
		return inv.GatewayRevision(w)
	}
	if by := inv.InjectedBy(inv.Facts(w)); len(by) == 1 {
		return by[0]
	}
	return ""
}

func running(w mesh.Workload, next string) string {
	for _, p := range w.Pods {
		if p.Revision != "" && !p.Terminating {
			return p.Revision
		}
	}
	return next
}

func excluded(inv *mesh.Inventory, w mesh.Workload) bool {
	return w.Annotations[v1alpha1.ExcludeAnnotation] == "true" || inv.Namespaces[w.Namespace].Annotations[v1alpha1.ExcludeAnnotation] == "true"
}

// Warnings says what is known beforehand about replacing the pods of the workload.
func Warnings(w mesh.Workload) []string {
	var out []string
	if w.Role.IsGateway() && w.Desired == 1 && !surges(w) && !CanSurge(w) {
		out = append(out, fmt.Sprintf("%s has one pod and cannot surge (%s): it will be unreachable while its pod is replaced; give it a second replica first to avoid that", w.Ref, noSurgeReason(w)))
	}
	if w.TemplateAnnotations[mesh.AnnotationProxyImage] != "" {
		out = append(out, fmt.Sprintf("%s pins its proxy image by the annotation %s: it moves to the new istiod and keeps the old proxy version", w.Ref, mesh.AnnotationProxyImage))
	}
	if _, err := ownTimeout(w); err != nil {
		out = append(out, err.Error())
	}
	return out
}

// surges tells whether a new pod is created before an old one goes.
func surges(w mesh.Workload) bool {
	return w.Kind == mesh.KindGateway || w.Strategy.Type == "RollingUpdate" && w.Strategy.MaxSurge > 0 && w.Kind != mesh.KindStatefulSet
}

// CanSurge tells whether Meshlift can let the gateway surge for the time of the move, although its own strategy does not.
func CanSurge(w mesh.Workload) bool {
	return w.Role.IsGateway() && w.Kind == mesh.KindDeployment && w.Strategy.Type == "RollingUpdate" && w.Strategy.MaxSurge == 0 && !w.HostNetwork && !w.HostPorts
}

func noSurgeReason(w mesh.Workload) string {
	switch {
	case w.HostNetwork:
		return "it uses the network of its node"
	case w.HostPorts:
		return "it binds ports of its node"
	case w.Strategy.Type == "Recreate":
		return "its strategy is Recreate"
	}
	return "its strategy replaces the old pod first"
}

// failure says why a moving workload counts as failed; "" when it does not.
func failure(w mesh.Workload, since time.Time, timeout time.Duration, now time.Time) (reason, message string) {
	p := w.Progress
	switch {
	case p.ObservedGeneration >= p.Generation && p.DeadlineExceeded:
		return "ProgressDeadlineExceeded", fmt.Sprintf("%s did not progress within its progressDeadlineSeconds", w.Ref)
	case timeout > 0 && invented(since, now):
		return "NotReadyInTime", fmt.Sprintf("the annotation %s of %s says that its move begins in the future", v1alpha1.MoveAnnotation, w.Ref)
	case timeout > 0 && now.Sub(since) >= timeout:
		return "NotReadyInTime", fmt.Sprintf("%s was not ready %s after its move began", w.Ref, timeout)
	}
	return "", ""
}

// clockError is more than the clocks of two agents ever differ.
const clockError = time.Hour

// invented tells whether a time in a record lies so far in the future that no agent wrote it. A record is an annotation of
// the workload, and whoever may change that must not keep a rollout waiting for ever.
func invented(recorded, now time.Time) bool { return recorded.Sub(now) > clockError }
