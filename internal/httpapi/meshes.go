package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// Mesh is one row of the list of meshes.
type Mesh struct {
	Name          string            `json:"name"`
	DisplayName   string            `json:"displayName"`
	Clusters      int32             `json:"clusters"`
	Connected     int32             `json:"connected" doc:"Clusters that answer."`
	IstioVersions string            `json:"istioVersions"`
	Ready         bool              `json:"ready" doc:"Every cluster is connected and nothing needs attention."`
	Message       string            `json:"message,omitempty" doc:"What needs attention."`
	Frozen        bool              `json:"frozen" doc:"An old istiod exists: clusters are neither added nor removed, and sidecars are not configured."`
	FrozenMessage string            `json:"frozenMessage,omitempty"`
	Upgradeable   []string          `json:"upgradeable" nullable:"false" doc:"Istio minor versions to which a cluster of it can be upgraded."`
	Upgrade       *MeshUpgradeInRow `json:"upgrade,omitempty" doc:"The upgrade of the mesh that runs, else the newest one."`
}

// MeshUpgradeInRow is an upgrade of a mesh in short.
type MeshUpgradeInRow struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Moved   int32  `json:"moved" doc:"Clusters whose data planes have moved."`
	Total   int32  `json:"total"`
	Paused  bool   `json:"paused"`
	Done    bool   `json:"done" doc:"The old istiod of every cluster is gone."`
	Message string `json:"message,omitempty"`
}

// MeshDetail is everything about one mesh.
type MeshDetail struct {
	Mesh
	ClusterList []Cluster   `json:"clusterList" nullable:"false"`
	OldIstiods  []OldIstiod `json:"oldIstiods" nullable:"false"`
	Turn        string      `json:"turn,omitempty" doc:"The cluster that may decommission its old istiod now."`
	History     []History   `json:"history" nullable:"false" doc:"Newest first."`
	Actions     MeshActions `json:"actions"`
}

// OldIstiod has to be decommissioned.
type OldIstiod struct {
	Cluster  string `json:"cluster"`
	Revision string `json:"revision"`
	Version  string `json:"version"`
}

// MeshActions are what this user can do with a mesh now.
type MeshActions struct {
	Upgrade    Availability `json:"upgrade"`
	AddCluster Availability `json:"addCluster"`
	Sidecars   Availability `json:"sidecars"`
}

func meshes(s *Server) {
	add(s, http.MethodGet, "/meshes", "listMeshes", "List the meshes that the caller may see", need{scope: anybody}, s.listMeshes)
	add(s, http.MethodPost, "/meshes", "createMesh", "Create a mesh, to which clusters are added afterwards", need{everyMesh, "create", ""}, s.createMesh)
	add(s, http.MethodGet, "/meshes/{mesh}", "getMesh", "Everything about one mesh", need{theMesh, "get", ""}, s.getMesh)
}

// fleetOf are the objects of the hub, read from its cache.
type fleetOf struct {
	meshes   []hub.Mesh
	clusters []hub.MemberCluster
	upgrades []hub.MeshUpgrade
}

func (s *Server) fleet(ctx context.Context) (fleetOf, error) {
	var m hub.MeshList
	var c hub.MemberClusterList
	var u hub.MeshUpgradeList
	for _, list := range []client.ObjectList{&m, &c, &u} {
		if err := s.options.Client.List(ctx, list); err != nil {
			return fleetOf{}, err
		}
	}
	slices.SortFunc(m.Items, func(a, b hub.Mesh) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Items, func(a, b hub.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
	return fleetOf{m.Items, c.Items, u.Items}, nil
}

// members are the clusters of a mesh.
func (f fleetOf) members(mesh string) []*hub.MemberCluster {
	var out []*hub.MemberCluster
	for n := range f.clusters {
		if f.clusters[n].Spec.Mesh == mesh {
			out = append(out, &f.clusters[n])
		}
	}
	return out
}

func (f fleetOf) row(m *hub.Mesh) Mesh {
	st := m.Status
	out := Mesh{
		Name: m.Name, DisplayName: cmp.Or(m.Spec.DisplayName, m.Name), Clusters: st.Clusters, Connected: st.Connected, IstioVersions: st.IstioVersions,
		Ready: meta.IsStatusConditionTrue(st.Conditions, hub.ConditionReady), Frozen: meta.IsStatusConditionTrue(st.Conditions, hub.ConditionFrozen),
		Upgradeable: []string{},
	}
	if !out.Ready {
		out.Message = view.ConditionMessage(st.Conditions, hub.ConditionReady)
	}
	if out.Frozen {
		out.FrozenMessage = view.ConditionMessage(st.Conditions, hub.ConditionFrozen)
	}
	for _, c := range f.members(m.Name) {
		for _, v := range view.Offered(c) {
			if !slices.Contains(out.Upgradeable, v) {
				out.Upgradeable = append(out.Upgradeable, v)
			}
		}
	}
	slices.Sort(out.Upgradeable)
	if u := view.CurrentMesh(f.upgrades, m.Name); u != nil {
		out.Upgrade = &MeshUpgradeInRow{
			u.Name, u.Spec.Version, u.Status.Moved, u.Status.Total, u.Spec.Paused,
			meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionDecommissioned), view.ConditionMessage(u.Status.Conditions, hub.ConditionReady),
		}
	}
	return out
}

func (s *Server) listMeshes(ctx context.Context, in *struct {
	Paging
	Search string `query:"search" doc:"Words that name, display name or version contain."`
},
) (*out[Page[Mesh]], error) {
	f, err := s.fleet(ctx)
	if err != nil {
		return nil, err
	}
	rows := []Mesh{}
	for n := range f.meshes {
		ok, err := s.mayOf(ctx, "get", "", f.meshes[n].Name, "")
		if err != nil {
			return nil, err
		}
		if row := f.row(&f.meshes[n]); ok && found(in.Search, row.Name, row.DisplayName, row.IstioVersions) {
			rows = append(rows, row)
		}
	}
	page, err := paged(rows, in.Paging)
	return body(page), err
}

func (s *Server) createMesh(ctx context.Context, in *struct {
	Body struct {
		Name        string `json:"name" minLength:"1" maxLength:"63" pattern:"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"`
		DisplayName string `json:"displayName,omitempty" maxLength:"128"`
	}
},
) (*out[Mesh], error) {
	m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: in.Body.Name}, Spec: hub.MeshSpec{DisplayName: in.Body.DisplayName}}
	if err := s.options.Client.Create(ctx, m); err != nil {
		return nil, err
	}
	return body(fleetOf{}.row(m)), nil
}

func (s *Server) getMesh(ctx context.Context, _ *struct {
	Mesh string `path:"mesh"`
},
) (*out[MeshDetail], error) {
	f, err := s.fleet(ctx)
	if err != nil {
		return nil, err
	}
	m := of(ctx).theMesh
	d := MeshDetail{Mesh: f.row(m), ClusterList: []Cluster{}, OldIstiods: []OldIstiod{}, History: historyOf("", m.Status.History)}
	slices.Reverse(d.History)
	for _, c := range f.members(m.Name) {
		row, err := s.clusterRow(ctx, c, m)
		if err != nil {
			return nil, err
		}
		d.ClusterList = append(d.ClusterList, row)
	}
	for _, o := range m.Status.OldIstiods {
		d.OldIstiods = append(d.OldIstiods, OldIstiod{o.Cluster, o.Revision, o.Version})
	}
	if m.Status.Turn != nil {
		d.Turn = m.Status.Turn.Cluster
	}
	if d.Actions, err = s.meshActions(ctx, m, d.Mesh); err != nil {
		return nil, err
	}
	return body(d), nil
}

// permitted is the first refusal: by RBAC, then by what the mesh says.
func (s *Server) permitted(ctx context.Context, verb, sub, mesh, cluster, reason string) (Availability, error) {
	ok, err := s.mayOf(ctx, verb, sub, mesh, cluster)
	switch {
	case err != nil:
		return Availability{}, err
	case !ok:
		return unavailable("you may not " + permission(verb, sub, mesh, cluster)), nil
	case reason != "":
		return unavailable(reason), nil
	}
	return available(), nil
}

// action is where to put whether something is possible, and what is asked for it.
type action struct {
	to                *Availability
	verb, sub, reason string
}

// permitAll is permitted for several actions.
func (s *Server) permitAll(ctx context.Context, mesh, cluster string, all ...action) (err error) {
	for _, a := range all {
		if *a.to, err = s.permitted(ctx, a.verb, a.sub, mesh, cluster, a.reason); err != nil {
			return err
		}
	}
	return nil
}

// permission in words, for people.
func permission(verb, sub, mesh, cluster string) string {
	what := strings.TrimSuffix("meshes/"+sub, "/")
	if mesh == "" {
		return verb + " " + what + " for cluster " + cluster
	}
	return verb + " " + what + " in mesh " + mesh
}

func (s *Server) meshActions(ctx context.Context, m *hub.Mesh, row Mesh) (a MeshActions, err error) {
	upgrade := ""
	switch {
	case row.Upgrade != nil && !row.Upgrade.Done:
		upgrade = "upgrade " + row.Upgrade.Name + " of the mesh runs"
	case row.Clusters == 0:
		upgrade = "the mesh has no cluster"
	case len(row.Upgradeable) == 0:
		upgrade = "no newer version is offered to its clusters"
	}
	err = s.permitAll(ctx, m.Name, "",
		action{&a.Upgrade, "create", "upgrades", upgrade},
		action{&a.AddCluster, "create", "clusters", row.FrozenMessage},
		action{&a.Sidecars, "update", "sidecars", row.FrozenMessage})
	return a, err
}
