package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/view"
)

// Proposal says, before anything happens, what an upgrade of a cluster would do.
type Proposal struct {
	Offered      []string `json:"offered" nullable:"false" doc:"Istio minor versions that can be chosen."`
	Version      string   `json:"version" doc:"The one that this proposal is about."`
	From         string   `json:"from" doc:"Version that is left."`
	FromRevision string   `json:"fromRevision"`
	To           string   `json:"to" doc:"Version that is entered."`
	ToRevision   string   `json:"toRevision"`
	Kubernetes   string   `json:"kubernetes" doc:"Version of the cluster's API server."`
	Supported    bool     `json:"supported"`
	Refusal      string   `json:"refusal,omitempty" doc:"Why it cannot start, and what to do."`
	Steps        []Step   `json:"steps" nullable:"false" doc:"What each step will do."`
	Sidecars     int      `json:"sidecars" doc:"Workloads with sidecars that will move when somebody says so."`
	Gateways     int      `json:"gateways"`
	EnvoyFilters int      `json:"envoyFilters" doc:"EnvoyFilters to check first."`
	Warnings     []string `json:"warnings" nullable:"false" doc:"What is known beforehand, for example a gateway that will be unreachable."`
	Untouched    []string `json:"untouched" nullable:"false" doc:"Data planes that Meshlift will not move, with the reason."`
}

// ClusterUpgrade is the upgrade of one cluster.
type ClusterUpgrade struct {
	ClusterProgress
	Paused          bool          `json:"paused"`
	Started         time.Time     `json:"started"`
	Blockers        []Blocker     `json:"blockers" nullable:"false" doc:"What keeps the old istiod in use."`
	BlockersOmitted int32         `json:"blockersOmitted"`
	Decommission    *Decommission `json:"decommission,omitempty"`
	ScaledDownAt    *time.Time    `json:"scaledDownAt,omitempty" doc:"Since when the old istiod is scaled to zero."`
	ValuesCarried   int           `json:"valuesCarried" doc:"Helm values that were carried over."`
	ValuesChanged   []string      `json:"valuesChanged" nullable:"false" doc:"Helm values that were changed on the way, with the reason."`
	History         []History     `json:"history" nullable:"false" doc:"Newest first."`
}

func upgrades(s *Server) {
	add(s, http.MethodGet, "/clusters/{cluster}/proposal", "getProposal", "What an upgrade would do, before it starts", need{theMesh, "get", ""}, s.getProposal)
	add(s, http.MethodGet, "/clusters/{cluster}/upgrade", "getClusterUpgrade", "The upgrade that runs, else the newest one", need{theMesh, "get", ""}, s.getUpgrade)
	add(s, http.MethodGet, "/clusters/{cluster}/upgrade/report", "getReport", "The record of the upgrade that runs, else of the newest one", need{theMesh, "get", ""}, s.getReport)
	add(s, http.MethodPost, "/clusters/{cluster}/upgrade", "startClusterUpgrade", "Install the new istiod beside the old one (steps 1 and 2)", need{theMesh, "create", "upgrades"}, s.startUpgrade)
	add(s, http.MethodDelete, "/clusters/{cluster}/upgrade", "deleteClusterUpgrade", "Take the upgrade back before anything moved", need{theMesh, "delete", "upgrades"}, s.deleteUpgrade)
	add(s, http.MethodPost, "/clusters/{cluster}/upgrade/pause", "pauseClusterUpgrade", "Start nothing new", need{theMesh, "update", "upgrades"}, s.pauseUpgrade(true))
	add(s, http.MethodPost, "/clusters/{cluster}/upgrade/resume", "resumeClusterUpgrade", "Go on", need{theMesh, "update", "upgrades"}, s.pauseUpgrade(false))
	add(s, http.MethodPost, "/clusters/{cluster}/upgrade/decommission", "decommissionCluster", "Remove the old istiod (step 5)", need{theMesh, "create", "decommissions"}, s.decommission)
	add(s, http.MethodDelete, "/clusters/{cluster}/upgrade/decommission", "withdrawClusterDecommission", "Take the request back; the old istiod comes back while it soaks", need{theMesh, "delete", "decommissions"}, s.withdraw)
}

// current returns the upgrade of the cluster that runs, else the newest one, as watches brought it.
func (s *Server) current(ctx context.Context, cluster string) (*v1alpha1.ClusterUpgrade, error) {
	r, err := s.options.Members.Cached(cluster)
	if err != nil {
		return nil, err
	}
	return pick(ctx, r)
}

func pick(ctx context.Context, r client.Reader) (*v1alpha1.ClusterUpgrade, error) {
	var list v1alpha1.ClusterUpgradeList
	if err := r.List(ctx, &list); err != nil {
		return nil, err
	}
	return view.Latest(list.Items), nil
}

// running returns the upgrade that runs, read live; that there is none is a refusal.
func (s *Server) running(ctx context.Context, cluster string) (client.Client, *v1alpha1.ClusterUpgrade, error) {
	c, err := s.options.Members.Client(cluster)
	if err != nil {
		return nil, nil, err
	}
	var list v1alpha1.ClusterUpgradeList
	if err := c.List(ctx, &list); err != nil {
		return nil, nil, err
	}
	u := view.Current(list.Items)
	if u == nil {
		return nil, nil, refused(v1alpha1.ReasonUserAction, "no upgrade runs in cluster %s: start one first", cluster)
	}
	return c, u, nil
}

func upgradeOf(u *v1alpha1.ClusterUpgrade, cluster string) ClusterUpgrade {
	v := ClusterUpgrade{
		ClusterProgress: *progressOf(fleet.Summary(u)),
		Paused:          u.Spec.Paused, Started: u.CreationTimestamp.UTC(), Blockers: blockersOf(u), BlockersOmitted: u.Status.BlockersOmitted,
		Decommission: decommissionOf(u.Spec.Decommission), ValuesChanged: []string{}, History: historyOf(cluster, u.Status.History),
	}
	slices.Reverse(v.History)
	if d := u.Status.Decommission; d != nil {
		v.ScaledDownAt = view.Instant(d.ScaledDownAt)
	}
	if r := u.Status.Values; r != nil {
		v.ValuesCarried, v.ValuesChanged = len(r.Carried), append(v.ValuesChanged, r.Changed...)
	}
	return v
}

func (s *Server) getUpgrade(ctx context.Context, in *InCluster) (*out[ClusterUpgrade], error) {
	u, err := s.current(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, problemf(http.StatusNotFound, "cluster %s has had no upgrade", in.Cluster)
	}
	return body(upgradeOf(u, in.Cluster)), nil
}

// propose works out the upgrade to the version; "" is the newest that is supported. The client is that of the cluster.
func (s *Server) propose(ctx context.Context, cluster, version string) (client.Client, *proposal.Proposal, error) {
	c, err := s.options.Members.Client(cluster)
	if err != nil {
		return nil, nil, err
	}
	var list v1alpha1.ClusterUpgradeList
	if err := c.List(ctx, &list); err != nil {
		return nil, nil, err
	}
	cat := catalog.Default()
	override := &v1alpha1.Catalog{}
	switch err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, override); {
	case err == nil:
		cat = cat.Merge(&override.Spec)
	case !apierrors.IsNotFound(err):
		return nil, nil, err
	}
	inv, err := s.inventories.get(ctx, cluster)
	if err != nil {
		return nil, nil, err
	}
	return c, proposal.New(proposal.Wish{Version: version}, cat, inv, list.Items), nil
}

func (s *Server) getProposal(ctx context.Context, in *struct {
	InCluster
	Version string `query:"version" doc:"Istio version to go to; empty for the newest that is supported."`
},
) (*out[Proposal], error) {
	_, p, err := s.propose(ctx, in.Cluster, in.Version)
	if err != nil {
		return nil, err
	}
	plan := p.Plan()
	v := Proposal{
		Offered: view.Offered(of(ctx).cluster), Version: p.Upgrade.Spec.Version, From: plan.FromVersion, FromRevision: plan.From, To: plan.ToVersion,
		ToRevision: plan.To, Kubernetes: strings.TrimPrefix(plan.Kubernetes, "v"), Supported: plan.Supported, Refusal: plan.Refusal, Steps: []Step{},
		EnvoyFilters: len(plan.EnvoyFilters), Warnings: []string{}, Untouched: []string{},
	}
	for _, step := range plan.Steps {
		v.Steps = append(v.Steps, Step{Number: step.Number, Title: step.Title, State: string(view.StepWaiting), Message: step.Text})
	}
	for _, g := range plan.Groups {
		for _, d := range g.DataPlanes {
			v.Warnings = append(v.Warnings, d.Warnings...)
			switch {
			case !d.Movable():
				v.Untouched = append(v.Untouched, d.String()+": "+cmp.Or(d.Message, "it stays where it is"))
			case d.Gateway():
				v.Gateways++
			default:
				v.Sidecars++
			}
		}
	}
	return body(v), nil
}

func (s *Server) startUpgrade(ctx context.Context, in *struct {
	InCluster
	Body struct {
		Version string `json:"version" minLength:"1" maxLength:"64" doc:"Istio version to go to, for example 1.31."`
	}
},
) (*out[ClusterUpgrade], error) {
	c, p, err := s.propose(ctx, in.Cluster, in.Body.Version)
	if err != nil {
		return nil, err
	}
	if !p.Verdict.Passed() {
		return nil, refusal(p.Verdict)
	}
	u := p.Upgrade.DeepCopy()
	u.Name = intent.ClusterUpgrade(p.From.Name, p.To.Revision)
	intent.RequestedBy(u, of(ctx).user.Name)
	if err := c.Create(ctx, u); err != nil {
		return nil, err
	}
	return body(upgradeOf(u, in.Cluster)), nil
}

func (s *Server) deleteUpgrade(ctx context.Context, in *InCluster) (*struct{}, error) {
	c, u, err := s.running(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	return nil, client.IgnoreNotFound(c.Delete(ctx, u, client.Preconditions{UID: &u.UID}))
}

// editUpgrade changes the upgrade that runs.
func (s *Server) editUpgrade(ctx context.Context, cluster string, change func(*v1alpha1.ClusterUpgrade) (bool, error)) (*out[ClusterUpgrade], error) {
	c, u, err := s.running(ctx, cluster)
	if err != nil {
		return nil, err
	}
	if err := edit(ctx, c, u, change); err != nil {
		return nil, err
	}
	return body(upgradeOf(u, cluster)), nil
}

func (s *Server) pauseUpgrade(paused bool) func(context.Context, *InCluster) (*out[ClusterUpgrade], error) {
	return func(ctx context.Context, in *InCluster) (*out[ClusterUpgrade], error) {
		return s.editUpgrade(ctx, in.Cluster, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
			return intent.Set(&u.Spec.Paused, paused), nil
		})
	}
}

func (s *Server) decommission(ctx context.Context, in *struct {
	InCluster
	Body Soak
},
) (*out[ClusterUpgrade], error) {
	soak, err := in.Body.duration()
	if err != nil {
		return nil, err
	}
	by := of(ctx).user.Name
	return s.editUpgrade(ctx, in.Cluster, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		if r := view.NewRemains(u); !r.Ending() {
			first := r.Blockers[0].Message
			return false, refused(v1alpha1.ReasonInUse, "the old istiod of cluster %s cannot be removed while it is in use (%s); the first is: %s",
				in.Cluster, view.Count(len(r.Blockers)+int(r.Omitted), "object"), first)
		}
		if why := openStep(&ClusterProgress{Steps: stepsOf(u.Status.Conditions)}, 5); why != "" {
			return false, refused(v1alpha1.ReasonWaiting, "the old istiod of cluster %s cannot be removed yet: %s", in.Cluster, why)
		}
		return intent.Decommission(&u.Spec.Decommission, by, s.now(), soak), nil
	})
}

func (s *Server) withdraw(ctx context.Context, in *InCluster) (*out[ClusterUpgrade], error) {
	return s.editUpgrade(ctx, in.Cluster, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		return intent.Withdraw(&u.Spec.Decommission), nil
	})
}
