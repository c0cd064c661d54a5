package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

// DataPlane is a workload with sidecars, or a gateway.
type DataPlane struct {
	Namespace   string   `json:"namespace"`
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	Role        string   `json:"role" enum:"Sidecar,IngressGateway,EgressGateway,Gateway"`
	Version     string   `json:"version" doc:"Istio version that its pods have, or are leaving."`
	State       string   `json:"state" enum:"Current,Pending,Moving,Moved,Failed,Excluded,Unsupported" doc:"Current: no upgrade runs."`
	Message     string   `json:"message,omitempty"`
	Pods        int32    `json:"pods"`
	MovedPods   int32    `json:"movedPods"`
	Upgradeable bool     `json:"upgradeable" doc:"It can be upgraded now."`
	MoveBack    bool     `json:"moveBack" doc:"It can be moved back to the old version now."`
	Warnings    []string `json:"warnings" nullable:"false" doc:"For example that a gateway will be unreachable for a moment."`
	Failure     *Failure `json:"failure,omitempty"`
}

// Failure is why a move failed.
type Failure struct {
	Rollout string     `json:"rollout"`
	Attempt int32      `json:"attempt"`
	Reason  string     `json:"reason"`
	Message string     `json:"message"`
	Waiting bool       `json:"waiting" doc:"It waits for a decision: retry, skip or move back."`
	Events  []PodEvent `json:"events" nullable:"false" doc:"Of its pods, newest first."`
}

// PodEvent is one event of a pod.
type PodEvent struct {
	Pod      string    `json:"pod"`
	Type     string    `json:"type"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message"`
	Count    int32     `json:"count"`
	LastSeen time.Time `json:"lastSeen"`
}

// Namespace counts the data planes of a namespace.
type Namespace struct {
	Name     string `json:"name"`
	Sidecars int    `json:"sidecars"`
	Gateways int    `json:"gateways"`
	Moved    int    `json:"moved" doc:"On the new version, or on the only one."`
	Moving   int    `json:"moving"`
	Failed   int    `json:"failed"`
	Open     int    `json:"open" doc:"That can be upgraded now."`
}

func dataPlanes(s *Server) {
	add(s, http.MethodGet, "/clusters/{cluster}/namespaces", "listNamespaces", "The namespaces of a cluster that have data planes", need{theMesh, "get", ""}, s.listNamespaces)
	add(s, http.MethodGet, "/clusters/{cluster}/dataplanes", "listDataPlanes", "Sidecars and gateways of a cluster, read from it now", need{theMesh, "get", ""}, s.listDataPlanes)
}

// planes reads the data planes of a cluster, with what the rollouts of the upgrade say about them, by namespace, name and kind. Others
// look at the same list.
func (s *Server) planes(ctx context.Context, cluster string) ([]DataPlane, error) {
	reading, err := s.inventories.soon(ctx, cluster)
	if err != nil {
		return nil, err
	}
	reader, err := s.options.Members.Cached(cluster)
	if err != nil {
		return nil, err
	}
	u, err := pick(ctx, reader)
	if err != nil {
		return nil, err
	}
	if u == nil || u.Status.From == nil || u.Status.To == nil || view.Finished(u) {
		return reading.judged("", func(inv *mesh.Inventory) []DataPlane { return ordered(settled(inv)) }), nil
	}
	var rollouts v1alpha1.DataPlaneRolloutList
	if err := reader.List(ctx, &rollouts); err != nil {
		return nil, err
	}
	by := string(u.UID) + u.ResourceVersion
	for _, r := range rollouts.Items {
		by += " " + string(r.UID) + r.ResourceVersion
	}
	return reading.judged(by, func(inv *mesh.Inventory) []DataPlane { return ordered(onTheWay(inv, u, rollouts.Items)) }), nil
}

func ordered(all []DataPlane) []DataPlane {
	slices.SortFunc(all, byName)
	return all
}

func byName(a, b DataPlane) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
}

// settled are the data planes of a cluster in which no upgrade runs.
func settled(inv *mesh.Inventory) []DataPlane {
	var all []DataPlane
	seen := map[mesh.Ref]bool{}
	for _, r := range inv.Revisions {
		for _, i := range rollout.Plan(inv, r.Name, r.Name, v1alpha1.Forward) {
			if seen[i.Ref] {
				continue
			}
			seen[i.Ref] = true
			d := planeOf(i)
			d.State, d.Message, d.Version = "Current", "", r.Version
			all = append(all, d)
		}
	}
	return all
}

func planeOf(i rollout.Item) DataPlane {
	return DataPlane{
		Namespace: i.Ref.Namespace, Kind: i.Ref.Kind, Name: i.Ref.Name, Role: string(i.Role), State: string(i.State), Message: i.Message,
		Pods: i.Pods, MovedPods: i.MovedPods, Warnings: append([]string{}, i.Warnings...),
	}
}

// onTheWay are the data planes of the two revisions of an upgrade.
func onTheWay(inv *mesh.Inventory, u *v1alpha1.ClusterUpgrade, rollouts []v1alpha1.DataPlaneRollout) []DataPlane {
	var all []DataPlane
	ready := openStep(&ClusterProgress{Steps: stepsOf(u.Status.Conditions)}, 4) == ""
	running := view.Running(rollouts, u.Name)
	failures := failuresOf(rollouts, u.Name)
	for _, i := range rollout.Plan(inv, u.Status.From.Revision, u.Status.To.Revision, v1alpha1.Forward) {
		d := planeOf(i)
		if d.Version = u.Status.From.Version; i.State == rollout.Moved {
			d.Version = u.Status.To.Version
		}
		if f, ok := failures[v1alpha1.WorkloadReference{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}]; ok && i.State != rollout.Moved {
			d.Failure = &f
			if f.Waiting {
				d.State, d.Message = string(rollout.Failed), f.Message
			}
		}
		d.Upgradeable = ready && d.Failure == nil && (i.State == rollout.Pending || i.State == rollout.Failed || i.OnRequest && i.State == rollout.Unsupported)
		d.MoveBack = u.Spec.Decommission == nil && i.State == rollout.Moved && running == nil
		all = append(all, d)
	}
	return all
}

// failuresOf are the failures of the rollouts of an upgrade, the newest rollout first.
func failuresOf(rollouts []v1alpha1.DataPlaneRollout, upgrade string) map[v1alpha1.WorkloadReference]Failure {
	rollouts = slices.DeleteFunc(slices.Clone(rollouts), func(r v1alpha1.DataPlaneRollout) bool { return r.Spec.Upgrade != upgrade || view.Complete(&r) })
	slices.SortFunc(rollouts, func(a, b v1alpha1.DataPlaneRollout) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	out := map[v1alpha1.WorkloadReference]Failure{}
	for n := range rollouts {
		for _, f := range rollouts[n].Status.Failures {
			out[f.WorkloadReference] = failureOf(&rollouts[n], f)
		}
	}
	return out
}

func failureOf(r *v1alpha1.DataPlaneRollout, f v1alpha1.WorkloadFailure) Failure {
	waiting := slices.ContainsFunc(view.Undecided(r), func(o v1alpha1.WorkloadFailure) bool { return o.WorkloadReference == f.WorkloadReference })
	v := Failure{r.Name, f.Attempt, f.Reason, f.Message, waiting, []PodEvent{}}
	for _, e := range f.Events {
		v.Events = append(v.Events, PodEvent{e.Pod, e.Type, e.Reason, e.Message, e.Count, e.LastSeen.UTC()})
	}
	return v
}

func (s *Server) listNamespaces(ctx context.Context, in *struct {
	InCluster
	Paging
	Search string `query:"search"`
},
) (*out[Page[Namespace]], error) {
	all, err := s.planes(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	rows := []Namespace{}
	at := map[string]int{}
	for _, d := range all {
		n, ok := at[d.Namespace]
		if !ok {
			n = len(rows)
			rows, at[d.Namespace] = append(rows, Namespace{Name: d.Namespace}), n
		}
		rows[n].count(d)
	}
	rows = slices.DeleteFunc(rows, func(n Namespace) bool { return !found(in.Search, n.Name) })
	slices.SortFunc(rows, func(a, b Namespace) int { return cmp.Compare(a.Name, b.Name) })
	page, err := paged(rows, in.Paging)
	return body(page), err
}

func (n *Namespace) count(d DataPlane) {
	if d.Role == "Sidecar" {
		n.Sidecars++
	} else {
		n.Gateways++
	}
	switch d.State {
	case "Current", string(rollout.Moved):
		n.Moved++
	case string(rollout.Moving):
		n.Moving++
	case string(rollout.Failed):
		n.Failed++
	}
	if d.Upgradeable {
		n.Open++
	}
}

func (s *Server) listDataPlanes(ctx context.Context, in *struct {
	InCluster
	Paging
	Namespace string `query:"namespace"`
	Role      string `query:"role" enum:"Sidecar,Gateway" doc:"Sidecar, or Gateway for gateways of any kind."`
	State     string `query:"state" enum:"Current,Pending,Moving,Moved,Failed,Excluded,Unsupported"`
	Search    string `query:"search" doc:"Words that namespace, kind or name contain."`
	Sort      string `query:"sort" enum:"name,state,version,pods" default:"name"`
	Order     string `query:"order" enum:"ascending,descending" default:"ascending"`
},
) (*out[Page[DataPlane]], error) {
	all, err := s.planes(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	rows := []DataPlane{}
	for _, d := range all {
		if (in.Namespace == "" || d.Namespace == in.Namespace) && (in.Role == "" || (in.Role == "Sidecar") == (d.Role == "Sidecar")) &&
			(in.State == "" || d.State == in.State) && found(in.Search, d.Namespace, d.Kind, d.Name) {
			rows = append(rows, d)
		}
	}
	sorted(rows, in.Sort, in.Order == "descending")
	page, err := paged(rows, in.Paging)
	return body(page), err
}

// sorted puts rows that are in the order of their names into another one.
func sorted(rows []DataPlane, by string, descending bool) {
	compare := map[string]func(a, b DataPlane) int{
		"state":   func(a, b DataPlane) int { return cmp.Compare(a.State, b.State) },
		"version": func(a, b DataPlane) int { return cmp.Compare(a.Version, b.Version) },
		"pods":    func(a, b DataPlane) int { return cmp.Compare(a.Pods, b.Pods) },
	}[by]
	if compare != nil {
		slices.SortStableFunc(rows, compare)
	}
	if descending {
		slices.Reverse(rows)
	}
}
