package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// MeshUpgrade is an upgrade of a mesh, wave by wave.
type MeshUpgrade struct {
	MeshUpgradeInRow
	Mesh         string             `json:"mesh"`
	Accepted     bool               `json:"accepted"`
	Refusal      string             `json:"refusal,omitempty"`
	Rollout      bool               `json:"rollout" doc:"Data planes move by themselves."`
	Waves        []ClusterWave      `json:"waves" nullable:"false"`
	Decommission *Decommission      `json:"decommission,omitempty" doc:"The request to remove the old istiods."`
	Actions      MeshUpgradeActions `json:"actions"`
}

// MeshUpgradeActions are what this user can do with the upgrade now.
type MeshUpgradeActions struct {
	Pause        Availability `json:"pause" doc:"Pause, or go on."`
	Approve      Availability `json:"approve"`
	Decommission Availability `json:"decommission"`
}

// ClusterWave is one wave of clusters.
type ClusterWave struct {
	Name        string          `json:"name"`
	Parallelism int32           `json:"parallelism" doc:"Clusters at the same time; 0 means all."`
	Soak        string          `json:"soak,omitempty" doc:"How long to wait after the wave, for example 1h0m0s."`
	Approval    bool            `json:"approval" doc:"Somebody has to approve before it starts."`
	ApprovedBy  string          `json:"approvedBy,omitempty"`
	Clusters    []ClusterInWave `json:"clusters" nullable:"false"`
}

// ClusterInWave is a cluster on its way.
type ClusterInWave struct {
	Name    string     `json:"name"`
	Step    string     `json:"step" doc:"For the eye: waits, refused, 4/5 data planes, done."`
	Moved   int32      `json:"moved"`
	Total   int32      `json:"total"`
	Failed  bool       `json:"failed"`
	Message string     `json:"message,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	MovedAt *time.Time `json:"movedAt,omitempty"`
}

// Decommission is a request to remove an old istiod.
type Decommission struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Soak string    `json:"soak"`
}

func decommissionOf(d *v1alpha1.DecommissionRequest) *Decommission {
	if d == nil {
		return nil
	}
	return &Decommission{d.By, d.At.UTC(), d.Soak.Duration.String()}
}

// Soak is how long an old istiod stays scaled to zero before it is uninstalled.
type Soak struct {
	Soak string `json:"soak,omitempty" doc:"How long the old istiod stays scaled to zero, ready to come back, for example 5m." default:"5m"`
}

func (k Soak) duration() (metav1.Duration, error) {
	if k.Soak == "" {
		k.Soak = "5m"
	}
	d, err := time.ParseDuration(k.Soak)
	if err != nil || d < 0 {
		return metav1.Duration{}, problemf(http.StatusBadRequest, "soak %q is not a duration: write for example 5m", k.Soak)
	}
	return metav1.Duration{Duration: d}, nil
}

type InUpgrade struct {
	Upgrade string `path:"upgrade"`
}

// NewMeshUpgrade asks for an upgrade of a mesh.
type NewMeshUpgrade struct {
	Version string           `json:"version" pattern:"^[0-9]+\\.[0-9]+(\\.[0-9]+([-+][0-9A-Za-z.+-]+)?)?$" maxLength:"64"`
	Name    string           `json:"name,omitempty" maxLength:"63" doc:"Default: made from mesh and version."`
	Rollout bool             `json:"rollout,omitempty" doc:"Move the data planes of each cluster by itself when its steps 1 to 3 are done."`
	Waves   []NewClusterWave `json:"waves,omitempty" maxItems:"100" doc:"None means one wave of all clusters, one after the other."`
}

// NewClusterWave is one wave of a new upgrade.
type NewClusterWave struct {
	Name        string   `json:"name" minLength:"1" maxLength:"63"`
	Clusters    []string `json:"clusters" minItems:"1" maxItems:"500" nullable:"false"`
	Parallelism *int32   `json:"parallelism,omitempty" minimum:"0"`
	Soak        string   `json:"soak,omitempty"`
	Approval    bool     `json:"approval,omitempty"`
}

func meshUpgrades(s *Server) {
	add(s, http.MethodGet, "/meshes/{mesh}/upgrades", "listMeshUpgrades", "The upgrades of a mesh, newest first", need{theMesh, "get", ""}, s.listMeshUpgrades)
	add(s, http.MethodPost, "/meshes/{mesh}/upgrades", "startMeshUpgrade", "Upgrade the clusters of a mesh, wave by wave", need{theMesh, "create", "upgrades"}, s.startMeshUpgrade)
	add(s, http.MethodGet, "/upgrades/{upgrade}", "getMeshUpgrade", "One upgrade of a mesh", need{theMesh, "get", ""}, s.getMeshUpgrade)
	add(s, http.MethodPost, "/upgrades/{upgrade}/pause", "pauseMeshUpgrade", "Start nothing new; what is in motion finishes", need{theMesh, "update", "upgrades"}, s.pauseMeshUpgrade(true))
	add(s, http.MethodPost, "/upgrades/{upgrade}/resume", "resumeMeshUpgrade", "Go on", need{theMesh, "update", "upgrades"}, s.pauseMeshUpgrade(false))
	add(s, http.MethodPost, "/upgrades/{upgrade}/approve", "approveWave", "Let a wave start", need{theMesh, "create", "approvals"}, s.approveWave)
	add(s, http.MethodPost, "/upgrades/{upgrade}/decommission", "decommissionMesh", "Remove the old istiods, one cluster after the other, when all have moved", need{theMesh, "create", "decommissions"}, s.decommissionMesh)
	add(s, http.MethodDelete, "/upgrades/{upgrade}/decommission", "withdrawMeshDecommission", "Take the request back", need{theMesh, "delete", "decommissions"}, s.withdrawMesh)
}

func (s *Server) meshUpgrade(ctx context.Context, u *hub.MeshUpgrade) (MeshUpgrade, error) {
	st := u.Status
	v := MeshUpgrade{
		MeshUpgradeInRow: MeshUpgradeInRow{u.Name, u.Spec.Version, st.Moved, st.Total, u.Spec.Paused, view.FinishedMesh(u), view.ConditionMessage(st.Conditions, hub.ConditionReady)},
		Mesh:             u.Spec.Mesh, Rollout: u.Spec.Rollout != nil, Waves: wavesOf(u), Decommission: decommissionOf(u.Spec.Decommission),
		Accepted: meta.IsStatusConditionTrue(st.Conditions, hub.ConditionAccepted),
	}
	if meta.IsStatusConditionFalse(st.Conditions, hub.ConditionAccepted) {
		v.Refusal = view.ConditionMessage(st.Conditions, hub.ConditionAccepted)
	}
	over := ""
	if v.Done {
		over = "the upgrade is complete"
	}
	waits := over
	if waits == "" && !slices.ContainsFunc(v.Waves, func(w ClusterWave) bool { return w.Approval && w.ApprovedBy == "" }) {
		waits = "no wave waits for an approval"
	}
	err := s.permitAll(ctx, u.Spec.Mesh, "",
		action{&v.Actions.Pause, "update", "upgrades", over},
		action{&v.Actions.Approve, "create", "approvals", waits},
		action{&v.Actions.Decommission, "create", "decommissions", over})
	return v, err
}

func wavesOf(u *hub.MeshUpgrade) []ClusterWave {
	waves := []ClusterWave{}
	for _, w := range u.Spec.Waves {
		wave := ClusterWave{Name: w.Name, Parallelism: 1, Approval: w.Approval, Clusters: []ClusterInWave{}}
		if w.Parallelism != nil {
			wave.Parallelism = *w.Parallelism
		}
		if w.Soak != nil {
			wave.Soak = w.Soak.Duration.String()
		}
		for _, a := range u.Spec.Approvals {
			if a.Wave == w.Name {
				wave.ApprovedBy = a.By
			}
		}
		waves = append(waves, wave)
	}
	for _, c := range u.Status.Clusters {
		n := slices.IndexFunc(waves, func(w ClusterWave) bool { return w.Name == c.Wave })
		if n < 0 {
			waves, n = append(waves, ClusterWave{Name: c.Wave, Parallelism: 1, Clusters: []ClusterInWave{}}), len(waves)
		}
		waves[n].Clusters = append(waves[n].Clusters, ClusterInWave{c.Name, c.Step, c.Moved, c.Total, c.Failed, c.Message, view.Instant(c.StartedAt), view.Instant(c.MovedAt)})
	}
	return waves
}

func (s *Server) listMeshUpgrades(ctx context.Context, in *struct {
	InMesh
	Paging
},
) (*out[Page[MeshUpgrade]], error) {
	var list hub.MeshUpgradeList
	if err := s.options.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(list.Items, func(u hub.MeshUpgrade) bool { return u.Spec.Mesh != in.Mesh })
	slices.SortFunc(all, func(a, b hub.MeshUpgrade) int {
		if c := b.CreationTimestamp.Compare(a.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	cut, err := paged(all, in.Paging)
	if err != nil {
		return nil, err
	}
	page := Page[MeshUpgrade]{Items: []MeshUpgrade{}, Total: cut.Total, Continue: cut.Continue}
	for n := range cut.Items {
		v, err := s.meshUpgrade(ctx, &cut.Items[n])
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, v)
	}
	return body(page), nil
}

func (s *Server) getMeshUpgrade(ctx context.Context, _ *InUpgrade) (*out[MeshUpgrade], error) {
	v, err := s.meshUpgrade(ctx, of(ctx).upgrade)
	return body(v), err
}

func (s *Server) startMeshUpgrade(ctx context.Context, in *struct {
	InMesh
	Body NewMeshUpgrade
},
) (*out[MeshUpgrade], error) {
	u := &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: in.Body.Name}, Spec: hub.MeshUpgradeSpec{Mesh: in.Mesh, Version: in.Body.Version}}
	if u.Name == "" {
		u.Name = intent.MeshUpgrade(in.Mesh, in.Body.Version)
	}
	for _, w := range in.Body.Waves {
		wave := hub.ClusterWave{Name: w.Name, Clusters: w.Clusters, Parallelism: w.Parallelism, Approval: w.Approval}
		if w.Soak != "" {
			d, err := Soak{w.Soak}.duration()
			if err != nil {
				return nil, err
			}
			wave.Soak = &d
		}
		u.Spec.Waves = append(u.Spec.Waves, wave)
	}
	if in.Body.Rollout {
		u.Spec.Rollout = &hub.RolloutTemplate{}
	}
	if err := s.options.Client.Create(ctx, u); err != nil {
		return nil, err
	}
	v, err := s.meshUpgrade(ctx, u)
	return body(v), err
}

// change edits the upgrade of the path.
func (s *Server) change(ctx context.Context, name string, f func(*hub.MeshUpgrade) (bool, error)) (*out[MeshUpgrade], error) {
	u := &hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := edit(ctx, s.options.Client, u, f); err != nil {
		return nil, err
	}
	v, err := s.meshUpgrade(ctx, u)
	return body(v), err
}

func (s *Server) pauseMeshUpgrade(paused bool) func(context.Context, *InUpgrade) (*out[MeshUpgrade], error) {
	return func(ctx context.Context, in *InUpgrade) (*out[MeshUpgrade], error) {
		return s.change(ctx, in.Upgrade, func(u *hub.MeshUpgrade) (bool, error) {
			return intent.Set(&u.Spec.Paused, paused), nil
		})
	}
}

func (s *Server) approveWave(ctx context.Context, in *struct {
	InUpgrade
	Body struct {
		Wave string `json:"wave" minLength:"1" maxLength:"63"`
	}
},
) (*out[MeshUpgrade], error) {
	by := of(ctx).user.Name
	return s.change(ctx, in.Upgrade, func(u *hub.MeshUpgrade) (bool, error) {
		if !slices.ContainsFunc(u.Spec.Waves, func(w hub.ClusterWave) bool { return w.Name == in.Body.Wave }) {
			return false, problemf(http.StatusNotFound, "there is no wave %q in upgrade %s", in.Body.Wave, u.Name)
		}
		return intent.Approve(u, in.Body.Wave, by, s.now()), nil
	})
}

func (s *Server) decommissionMesh(ctx context.Context, in *struct {
	InUpgrade
	Body Soak
},
) (*out[MeshUpgrade], error) {
	soak, err := in.Body.duration()
	if err != nil {
		return nil, err
	}
	by := of(ctx).user.Name
	return s.change(ctx, in.Upgrade, func(u *hub.MeshUpgrade) (bool, error) {
		return intent.Decommission(&u.Spec.Decommission, by, s.now(), soak), nil
	})
}

func (s *Server) withdrawMesh(ctx context.Context, in *InUpgrade) (*out[MeshUpgrade], error) {
	return s.change(ctx, in.Upgrade, func(u *hub.MeshUpgrade) (bool, error) {
		return intent.Withdraw(&u.Spec.Decommission), nil
	})
}
