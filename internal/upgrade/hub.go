package upgrade

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// Hub is what a member knows of its hub.
type Hub struct {
	// Link is what the hub said last; nil in a cluster without a hub, which asks nobody.
	Link *v1alpha1.HubLink
	// Unknown says why the ControlPlane, in which the hub writes, cannot be read; "" when it can. Then nobody knows whether there
	// is a hub, and steps that would ask it wait.
	Unknown string
	// Upgrade is the UID of the upgrade that is decided about. A permission for another one counts for nothing.
	Upgrade types.UID
	// Glass is the reason that somebody gave for a decommission without a permission; "" when nobody did.
	Glass string
}

// components is step 1. The hub upgrades the components, so that it knows. Once the step is done it stays done: a component that is
// offered in a newer version later does not stop an upgrade in flight.
func (d *decision) components() Step {
	h := d.in.Snapshot.Hub
	if c := meta.FindStatusCondition(d.in.Status.Conditions, v1alpha1.ConditionComponentsReady); c != nil && c.Status == "True" && d.in.Status.From != nil {
		return done("%s", c.Message)
	}
	d.out.Again = later
	switch {
	case h.Unknown != "":
		return unmet(v1alpha1.ReasonError, "nobody knows whether a hub looks after the components of this cluster: %s", h.Unknown)
	case h.Link == nil:
		return done("no component besides Istio is managed in this cluster")
	case h.Link.Components == nil:
		return unmet(v1alpha1.ReasonInProgress, "waits for the hub to say whether the components besides Istio of cluster %s are ready", orUnknown(h.Link.Cluster))
	case h.Link.Components.Pass:
		return done("the components besides Istio are ready, says the hub")
	}
	v := h.Link.Components
	if v.Message == "" {
		return unmet(reasonOf(v.Reason, v1alpha1.ReasonUserAction), "the components besides Istio of cluster %s are not ready: upgrade them from the hub", orUnknown(h.Link.Cluster))
	}
	return unmet(reasonOf(v.Reason, v1alpha1.ReasonUserAction), "%s", v.Message)
}

// permitted says whether the old istiod may be decommissioned now, and if not, why.
func (d *decision) permitted() (bool, Step) {
	h := d.in.Snapshot.Hub
	if h.Glass != "" {
		if h.Link != nil && !h.allows() {
			d.out.Glass = fmt.Sprintf("istiod %s is decommissioned without the permission of the hub: %s", d.in.Snapshot.From.Revision, h.Glass)
		}
		return true, Step{}
	}
	switch {
	case h.Unknown != "":
		return false, unmet(v1alpha1.ReasonUnknownUse, "istiod %s cannot be decommissioned now: nobody knows whether a hub allows it: %s", d.in.Snapshot.From.Revision, h.Unknown)
	case h.Link == nil || h.allows():
		return true, Step{}
	case h.Link.Decommission == nil || h.Link.Decommission.UID != h.Upgrade:
		return false, unmet(hub.ReasonBarrier, "waits for the hub: it has not said yet whether cluster %s of mesh %s may decommission istiod %s", orUnknown(h.Link.Cluster), orUnknown(h.Link.Mesh), d.in.Snapshot.From.Revision)
	}
	v := h.Link.Decommission.HubVerdict
	message := v.Message
	if message == "" {
		message = fmt.Sprintf("the hub does not allow the decommission of istiod %s of mesh %s yet", d.in.Snapshot.From.Revision, orUnknown(h.Link.Mesh))
	}
	return false, unmet(reasonOf(v.Reason, hub.ReasonBarrier), "%s", message)
}

func (h Hub) allows() bool {
	return h.Link != nil && h.Link.Decommission != nil && h.Link.Decommission.Pass && h.Upgrade != "" && h.Link.Decommission.UID == h.Upgrade
}

// reasonPattern is what the API server takes as the reason of a condition
// (https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition).
var reasonPattern = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$`)

// reasonOf keeps a reason that a condition can hold and that does not say something else than "wait".
func reasonOf(s, fallback string) string {
	switch {
	case !reasonPattern.MatchString(s), s == v1alpha1.ReasonDone, s == v1alpha1.ReasonWaiting:
		return fallback
	}
	return s
}
