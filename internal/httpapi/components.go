package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
)

// Component is one component of a cluster.
type Component struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Running     string       `json:"running,omitempty"`
	Offered     string       `json:"offered,omitempty"`
	Phase       string       `json:"phase" enum:"NotInstalled,Current,Upgradeable,Upgrading,Failed,Unknown"`
	InstalledBy string       `json:"installedBy,omitempty"`
	BeforeIstio bool         `json:"beforeIstio" doc:"It has to be upgraded before Istio (step 1)."`
	Message     string       `json:"message,omitempty"`
	Upgrade     Availability `json:"upgrade"`
}

func components(s *Server) {
	add(s, http.MethodGet, "/clusters/{cluster}/components", "listComponents", "The components of a cluster", need{theMesh, "get", ""}, s.listComponents)
	add(s, http.MethodPost, "/clusters/{cluster}/components/upgrade", "upgradeComponents", "Upgrade components, or try again", need{theMesh, "update", "components"}, s.upgradeComponents)
}

// own tells whether Meshlift upgrades the component on request.
func own(name string) bool { return name != "istio" && name != "kubernetes" }

// behind tells whether a component can be upgraded or has failed.
func behind(c hub.ComponentStatus) bool {
	return own(c.Name) && intent.Upgradeable(c.Phase) && c.Phase != hub.ComponentUpgrading
}

func (s *Server) listComponents(ctx context.Context, _ *InCluster) (*out[Page[Component]], error) {
	m := of(ctx).cluster
	rows := []Component{}
	for _, c := range m.Status.Components {
		row := Component{
			Name: c.Name, Title: c.Title, Running: c.Running, Offered: c.Offered, Phase: string(c.Phase), InstalledBy: c.InstalledBy,
			BeforeIstio: c.BeforeIstio, Message: c.Message,
		}
		if row.Title == "" {
			row.Title = c.Name
		}
		reason := ""
		switch {
		case c.Name == "istio":
			reason = "Istio is upgraded by the upgrade of the cluster"
		case c.Name == "kubernetes":
			reason = "Kubernetes is upgraded by your platform"
		case c.Phase == hub.ComponentUpgrading:
			reason = "it is being upgraded"
		case c.Phase == hub.ComponentNotInstalled:
			reason = "it is not installed in this cluster"
		case c.Phase == hub.ComponentCurrent:
			reason = "it has the newest version"
		case c.Phase == hub.ComponentUnknown:
			reason = c.Message
		}
		var err error
		if row.Upgrade, err = s.permitted(ctx, "update", "components", m.Spec.Mesh, m.Name, reason); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return body(Page[Component]{Items: rows, Total: len(rows)}), nil
}

func (s *Server) upgradeComponents(ctx context.Context, in *struct {
	InCluster
	Body struct {
		All   bool     `json:"all,omitempty" doc:"Every component that is behind or has failed."`
		Names []string `json:"names,omitempty" maxItems:"50"`
	}
},
) (*struct{}, error) {
	if in.Body.All == (len(in.Body.Names) > 0) {
		return nil, problemf(http.StatusBadRequest, "name components or ask for all, not both")
	}
	q := of(ctx)
	m := &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: in.Cluster}}
	return nil, edit(ctx, s.options.Client, m, func(m *hub.MemberCluster) (bool, error) {
		var rows []hub.ComponentStatus
		for _, c := range m.Status.Components {
			if in.Body.All && behind(c) || slices.Contains(in.Body.Names, c.Name) {
				rows = append(rows, c)
			}
		}
		for _, name := range in.Body.Names {
			n := slices.IndexFunc(rows, func(c hub.ComponentStatus) bool { return c.Name == name })
			if n < 0 || !own(name) || !intent.Upgradeable(rows[n].Phase) {
				return false, refused(v1alpha1.ReasonUserAction, "component %q of cluster %s cannot be upgraded: see the list of its components", name, m.Name)
			}
		}
		return len(intent.Request(m, rows, q.user.Name, s.now())) > 0, nil
	})
}

// now is the time as it is written into objects.
func (s *Server) now() metav1.Time {
	return metav1.NewTime(s.options.Clock.Now().UTC().Truncate(time.Second))
}
