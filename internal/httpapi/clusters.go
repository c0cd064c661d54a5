package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/view"
)

// Cluster is one row of the table of clusters.
type Cluster struct {
	Name                string           `json:"name"`
	Mesh                string           `json:"mesh,omitempty"`
	Connection          string           `json:"connection" enum:"Connected,Disconnected,Unknown"`
	ConnectionMessage   string           `json:"connectionMessage,omitempty"`
	Server              string           `json:"server,omitempty" doc:"Address of its API server."`
	LastContact         *time.Time       `json:"lastContact,omitempty"`
	Kubernetes          string           `json:"kubernetes,omitempty"`
	Agent               string           `json:"agent,omitempty" doc:"Version of the agent."`
	IstioVersions       string           `json:"istioVersions,omitempty"`
	Revisions           []Revision       `json:"revisions" nullable:"false"`
	UpgradeTo           []string         `json:"upgradeTo" nullable:"false" doc:"Istio minor versions that are offered."`
	Ready               bool             `json:"ready"`
	Message             string           `json:"message,omitempty" doc:"What needs attention."`
	ComponentsToUpgrade int              `json:"componentsToUpgrade" doc:"Components besides Istio and Kubernetes with a newer version on offer, or a failed upgrade."`
	Upgrade             *ClusterProgress `json:"upgrade,omitempty" doc:"Its upgrade that runs, else the newest one."`
	Actions             ClusterActions   `json:"actions"`
}

// ClusterProgress is an upgrade of a cluster in short.
type ClusterProgress struct {
	Name                  string `json:"name"`
	From                  string `json:"from,omitempty" doc:"Version of Istio that is left."`
	To                    string `json:"to" doc:"Version of Istio that is entered."`
	Steps                 []Step `json:"steps" nullable:"false"`
	Moved                 int32  `json:"moved" doc:"Data planes on the new version."`
	Total                 int32  `json:"total"`
	Finished              bool   `json:"finished"`
	DecommissionRequested bool   `json:"decommissionRequested"`
	Accepted              bool   `json:"accepted"`
	Refusal               string `json:"refusal,omitempty" doc:"Why it was not accepted."`
}

// ClusterActions are what this user can do with a cluster now.
type ClusterActions struct {
	Upgrade       Availability `json:"upgrade"`
	MoveWorkloads Availability `json:"moveWorkloads"`
	Decommission  Availability `json:"decommission"`
	Components    Availability `json:"components"`
	EnvoyFilters  Availability `json:"envoyFilters"`
	Remove        Availability `json:"remove"`
}

func clusters(s *Server) {
	add(s, http.MethodGet, "/clusters", "listClusters", "List the clusters that the caller may see", need{scope: anybody}, s.listClusters)
	add(s, http.MethodGet, "/clusters/{cluster}", "getCluster", "One cluster", need{theMesh, "get", ""}, s.getCluster)
	add(s, http.MethodDelete, "/clusters/{cluster}", "removeCluster", "Remove a cluster from the hub; Istio and the agent stay there", need{theMesh, "delete", "clusters"}, s.removeCluster)
}

func (s *Server) clusterRow(ctx context.Context, m *hub.MemberCluster, mesh *hub.Mesh) (Cluster, error) {
	st := m.Status
	out := Cluster{
		Name: m.Name, Mesh: m.Spec.Mesh, Server: st.Connection.Server, LastContact: view.Instant(st.Connection.LastContact), Kubernetes: st.KubernetesVersion,
		Agent: st.AgentVersion, IstioVersions: st.IstioVersions, Revisions: []Revision{}, UpgradeTo: view.Offered(m),
		Ready: meta.IsStatusConditionTrue(st.Conditions, hub.ConditionReady),
	}
	out.Connection, out.ConnectionMessage = connection(m)
	if !out.Ready {
		out.Message = view.ConditionMessage(st.Conditions, hub.ConditionReady)
	}
	for _, r := range st.Revisions {
		out.Revisions = append(out.Revisions, Revision{r.Revision, r.Version, r.Sidecars, r.Gateways, append([]string{}, r.UpgradeTo...)})
	}
	for _, c := range st.Components {
		if behind(c) {
			out.ComponentsToUpgrade++
		}
	}
	if u := st.Upgrade; u != nil {
		out.Upgrade = progressOf(u)
	}
	var err error
	out.Actions, err = s.clusterActions(ctx, m, mesh, out)
	return out, err
}

func progressOf(u *hub.UpgradeSummary) *ClusterProgress {
	p := &ClusterProgress{
		Name: u.Name, To: u.Version, Steps: stepsOf(u.Conditions), Moved: u.DataPlanes.Moved, Total: u.DataPlanes.Total,
		DecommissionRequested: u.DecommissionRequested, Accepted: u.From != nil,
		Finished: meta.IsStatusConditionTrue(u.Conditions, v1alpha1.ConditionReady) || meta.IsStatusConditionTrue(u.Conditions, v1alpha1.ConditionDecommissioned),
	}
	if u.From != nil {
		p.From = u.From.Version
	}
	if u.To != nil {
		p.To = u.To.Version
	}
	if u.From == nil && meta.IsStatusConditionFalse(u.Conditions, v1alpha1.ConditionAccepted) {
		p.Refusal = view.ConditionMessage(u.Conditions, v1alpha1.ConditionAccepted)
	}
	return p
}

// clusterActions says what can be done, and why not. The reasons are a help for the eye: the cluster itself decides when it is asked.
func (s *Server) clusterActions(ctx context.Context, m *hub.MemberCluster, mesh *hub.Mesh, c Cluster) (a ClusterActions, err error) {
	running := c.Upgrade != nil && !c.Upgrade.Finished && c.Upgrade.Refusal == ""
	offline := ""
	if c.Connection != "Connected" {
		offline = cmp.Or(c.ConnectionMessage, "the cluster has not been asked yet")
	}
	none := ""
	if !running {
		none = "no upgrade runs in the cluster"
	}
	upgrade := ""
	switch {
	case running:
		upgrade = "upgrade " + c.Upgrade.Name + " runs"
	case len(c.UpgradeTo) == 0:
		upgrade = "no newer version of Istio is offered to this cluster"
	}
	components := ""
	if c.ComponentsToUpgrade == 0 {
		components = "every component has the newest version"
	}
	frozen := ""
	if mesh != nil {
		frozen = fleet.Frozen(fleet.RemoveCluster, m.Name, mesh.Name, mesh.Status.OldIstiods).Message
	}
	err = s.permitAll(ctx, m.Spec.Mesh, m.Name,
		action{&a.Upgrade, "create", "upgrades", cmp.Or(offline, upgrade)},
		action{&a.MoveWorkloads, "create", "rollouts", cmp.Or(offline, none, openStep(c.Upgrade, 4))},
		action{&a.Decommission, "create", "decommissions", cmp.Or(offline, none, openStep(c.Upgrade, 5))},
		action{&a.Components, "update", "components", cmp.Or(offline, components)},
		action{&a.EnvoyFilters, "update", "envoyfilters", cmp.Or(offline, none)},
		action{&a.Remove, "delete", "clusters", frozen})
	return a, err
}

// openStep says which step before this one is not done; "" when all are.
func openStep(u *ClusterProgress, before int) string {
	if u == nil {
		return ""
	}
	for _, s := range u.Steps {
		if s.Number < before && s.State != "Done" {
			return "step " + strconv.Itoa(s.Number) + " (" + s.Title + ") is not done: " + cmp.Or(s.Message, "it has not been looked at yet")
		}
	}
	return ""
}

func (s *Server) listClusters(ctx context.Context, in *struct {
	Paging
	Search string `query:"search" doc:"Words that name, mesh, Kubernetes or Istio version contain."`
	Mesh   string `query:"mesh" doc:"Clusters of this mesh only."`
},
) (*out[Page[Cluster]], error) {
	f, err := s.fleet(ctx)
	if err != nil {
		return nil, err
	}
	var shown []*hub.MemberCluster
	for n := range f.clusters {
		m := &f.clusters[n]
		if in.Mesh != "" && m.Spec.Mesh != in.Mesh || !found(in.Search, m.Name, m.Spec.Mesh, m.Status.KubernetesVersion, m.Status.IstioVersions) {
			continue
		}
		ok, err := s.mayOf(ctx, "get", "", m.Spec.Mesh, m.Name)
		if err != nil {
			return nil, err
		}
		if ok {
			shown = append(shown, m)
		}
	}
	cut, err := paged(shown, in.Paging)
	if err != nil {
		return nil, err
	}
	page := Page[Cluster]{Items: []Cluster{}, Total: cut.Total, Continue: cut.Continue}
	for _, m := range cut.Items {
		row, err := s.clusterRow(ctx, m, f.mesh(m.Spec.Mesh))
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, row)
	}
	return body(page), nil
}

func (f fleetOf) mesh(name string) *hub.Mesh {
	n := slices.IndexFunc(f.meshes, func(m hub.Mesh) bool { return m.Name == name })
	if n < 0 {
		return nil
	}
	return &f.meshes[n]
}

func (s *Server) getCluster(ctx context.Context, _ *InCluster) (*out[Cluster], error) {
	m := of(ctx).cluster
	var mesh *hub.Mesh
	if m.Spec.Mesh != "" {
		mesh = &hub.Mesh{}
		if err := s.options.Client.Get(ctx, client.ObjectKey{Name: m.Spec.Mesh}, mesh); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
	}
	row, err := s.clusterRow(ctx, m, mesh)
	return body(row), err
}

// InCluster is the input of operations on a cluster.
type InCluster struct {
	Cluster string `path:"cluster"`
}

func (s *Server) removeCluster(ctx context.Context, _ *InCluster) (*struct{}, error) {
	m := of(ctx).cluster
	return nil, client.IgnoreNotFound(s.options.Client.Delete(ctx, m.DeepCopy(), client.Preconditions{UID: &m.UID}))
}
