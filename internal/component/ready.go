package component

import (
	"fmt"
	"strings"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
)

// Ready answers step 1 of an upgrade of Istio: every component that comes before Istio and is installed has the version that
// is offered. What is not known is not ready.
func Ready(cluster string, rows []hub.ComponentStatus) gate.Verdict {
	var behind, under, failed, unknown []string
	for _, r := range rows {
		if !r.BeforeIstio {
			continue
		}
		title := r.Title
		if title == "" {
			title = r.Name
		}
		switch r.Phase {
		case hub.ComponentUpgradeable:
			behind = append(behind, fmt.Sprintf("%s %s (%s is offered)", title, r.Running, r.Offered))
		case hub.ComponentUpgrading:
			under = append(under, title)
		case hub.ComponentFailed:
			failed = append(failed, title+" ("+r.Message+")")
		case hub.ComponentUnknown:
			unknown = append(unknown, title+" ("+r.Message+")")
		}
	}
	next := fmt.Sprintf("`meshlift components upgrade --all --cluster %s`", cluster)
	switch {
	case len(unknown) > 0:
		return gate.Block(v1alpha1.ReasonUnknownUse, "components of cluster %s come before Istio and are not known: %s; see `meshlift components --cluster %s`", cluster, strings.Join(unknown, "; "), cluster)
	case len(failed) > 0:
		return gate.Block(v1alpha1.ReasonFailed, "components of cluster %s could not be upgraded: %s", cluster, strings.Join(failed, "; "))
	case len(behind) > 0:
		return gate.Block(v1alpha1.ReasonUserAction, "components of cluster %s are to be upgraded before Istio: %s; upgrade them with %s", cluster, strings.Join(behind, ", "), next)
	case len(under) > 0:
		return gate.Wait(v1alpha1.ReasonInProgress, "components of cluster %s are being upgraded: %s", cluster, strings.Join(under, ", "))
	}
	return gate.Pass()
}
