package rollout

import (
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Method is how a workload is moved.
type Method string

// Methods. Each has its drivers in package restart.
const (
	// ByTemplate: the pod template is labelled, and the workload's own controller replaces the pods.
	ByTemplate Method = "Template"
	// ByTemplateAndEviction: the pod template is labelled, and the pods are evicted one after the other, because their
	// controller replaces none that lives.
	ByTemplateAndEviction Method = "TemplateAndEviction"
	// ByEviction: the pod is evicted and that is all; whoever made it may make another one.
	ByEviction Method = "Eviction"
	// ByClaim: admission gives the revision to the next pods of the workload ([v1alpha1.AdmissionClaims]), and its pods are
	// evicted one after the other, because its pod template is not Meshlift's to change.
	ByClaim Method = "Claim"
	// ByGatewayLabel: the Gateway is labelled, and istiod renders its Deployment anew.
	ByGatewayLabel Method = "GatewayLabel"
)

// onDelete is the update strategy that leaves the replacing of pods to others
// (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#update-strategies).
const onDelete = "OnDelete"

// MethodOf returns how the workload is moved; "" when Meshlift does not move its kind.
func MethodOf(w mesh.Workload) Method {
	if w.Claim != nil || w.Foreign != "" {
		return ByClaim
	}
	switch w.Kind {
	case mesh.KindGateway:
		return ByGatewayLabel
	case mesh.KindDeployment, mesh.KindCronJob:
		return ByTemplate
	case mesh.KindStatefulSet, mesh.KindDaemonSet:
		if w.Strategy.Type == onDelete {
			return ByTemplateAndEviction
		}
		return ByTemplate
	case mesh.KindReplicaSet:
		return ByTemplateAndEviction
	case mesh.KindPod:
		return ByEviction
	}
	return ""
}

// evicts tells whether Meshlift replaces the pods itself.
func (m Method) evicts() bool { return m == ByTemplateAndEviction || m == ByEviction || m == ByClaim }

// Lowers tells whether the partition of the StatefulSet must be 0 for the time of the move.
func Lowers(w mesh.Workload) bool {
	return w.Kind == mesh.KindStatefulSet && w.Strategy.Partition > 0 && MethodOf(w) == ByTemplate
}

// unsupported says why Meshlift does not touch the workload and what to do instead; "" when it does.
func unsupported(inv *mesh.Inventory, w mesh.Workload) string {
	switch method := MethodOf(w); {
	case method == ByGatewayLabel:
		return ""
	case method == "":
		return fmt.Sprintf("Meshlift does not drive the kind %s: restart it yourself", w.Kind)
	case method == ByClaim && w.Claim == nil && !inv.Claimable:
		return fmt.Sprintf("%s: %s, and choosing the revision at admission needs Kubernetes 1.36: put the label %s on it yourself and finish the update that this starts", w.Ref, w.Foreign, v1alpha1.RevisionLabel)
	case len(inv.InjectedBy(inv.Facts(w))) == 0:
		return fmt.Sprintf("no webhook injects %s, so its proxy comes from whoever renders it (an installer, ztunnel): move it with that tool", w.Ref)
	}
	return ""
}

// reason is why a workload may not be touched as it is.
type reason struct{ word, sentence string }

// refusal says why the workload must not be touched before its owner has done something; zero when it may be.
//
// A paused Deployment without pods may: the pods that come when it is resumed are of the new template. Where the update
// strategy holds a change of the owner back, Meshlift would ship that change with the move; a workload that a move left
// between two revisions is behind because of the move.
func refusal(inv *mesh.Inventory, w mesh.Workload) reason {
	behind := w.Progress.Behind && !between(inv, w)
	method := MethodOf(w)
	switch {
	case method != ByClaim && w.Progress.Paused && (w.Desired > 0 || len(w.Pods) > 0):
		return reason{v1alpha1.FailurePaused, fmt.Sprintf("%s is paused and would not roll: resume it (kubectl -n %s rollout resume %s %s) and try again", w.Ref, w.Namespace, strings.ToLower(w.Kind), w.Name)}
	case behind && Lowers(w):
		return reason{v1alpha1.FailureHeldBack, fmt.Sprintf("%s has a change that partition %d of its update strategy holds back, and moving it would ship that change to all of its pods: finish it (set the partition to 0) or take it back, then try again", w.Ref, w.Strategy.Partition)}
	case behind && (method == ByTemplateAndEviction || method == ByClaim && w.Strategy.Type == onDelete):
		return reason{v1alpha1.FailureHeldBack, fmt.Sprintf("%s has pods that are older than its pod template, and moving it would ship what its owner holds back: delete those pods or take the change back, then try again", w.Ref)}
	}
	return reason{}
}

// between tells whether a pod of the workload runs on another revision than its next one will.
func between(inv *mesh.Inventory, w mesh.Workload) bool {
	next := nextRevision(inv, w)
	return slices.ContainsFunc(w.Pods, func(p mesh.Pod) bool { return !p.Terminating && p.Revision != next })
}

// obstacle says what keeps a workload in motion from getting on; "" for nothing that is known.
func obstacle(w mesh.Workload) string {
	switch {
	case w.Progress.Failure != "":
		return w.Progress.Failure
	case w.Progress.Paused && MethodOf(w) != ByClaim:
		return fmt.Sprintf("it is paused: resume it (kubectl -n %s rollout resume %s %s)", w.Namespace, strings.ToLower(w.Kind), w.Name)
	case Lowers(w):
		return fmt.Sprintf("somebody set its partition to %d again: set it to 0 until it has moved", w.Strategy.Partition)
	}
	return ""
}
