package httpapi

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// Availability says whether an action is possible now, for this user.
type Availability struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty" doc:"Why not, in one sentence."`
}

func available() Availability                { return Availability{Allowed: true} }
func unavailable(reason string) Availability { return Availability{Reason: reason} }

// Revision is an istiod revision with its version.
type Revision struct {
	Revision  string   `json:"revision"`
	Version   string   `json:"version"`
	Sidecars  int32    `json:"sidecars" doc:"Workloads with sidecars that use it."`
	Gateways  int32    `json:"gateways" doc:"Gateways that use it."`
	UpgradeTo []string `json:"upgradeTo" nullable:"false" doc:"Istio minor versions to which it can be upgraded on this cluster."`
}

// Step is one of the five steps of an upgrade.
type Step struct {
	Number  int    `json:"number" minimum:"1" maximum:"5"`
	Title   string `json:"title"`
	State   string `json:"state" enum:"Done,Active,Attention,Failed,Waiting"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func stepsOf(conditions []metav1.Condition) []Step {
	out := []Step{}
	for _, s := range view.Steps(&v1alpha1.ClusterUpgrade{Status: v1alpha1.ClusterUpgradeStatus{Conditions: conditions}}) {
		out = append(out, Step{s.Number, s.Title, string(s.State), s.Reason, s.Message})
	}
	return out
}

// History is one thing that happened.
type History struct {
	At      time.Time `json:"at"`
	Cluster string    `json:"cluster,omitempty"`
	Step    int32     `json:"step,omitempty"`
	Message string    `json:"message"`
}

func historyOf(cluster string, entries []v1alpha1.HistoryEntry) []History {
	out := []History{}
	for _, h := range entries {
		out = append(out, History{h.At.UTC(), cluster, h.Step, h.Message})
	}
	return out
}

// Blocker keeps an old istiod in use.
type Blocker struct {
	Category  string `json:"category" enum:"IngressGateway,EgressGateway,Gateway,Sidecar,Connection,Reference,Unknown"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Message   string `json:"message"`
	Ending    bool   `json:"ending" doc:"It goes away by itself: its pods are being deleted."`
}

func blockersOf(u *v1alpha1.ClusterUpgrade) []Blocker {
	out := []Blocker{}
	for _, b := range view.NewRemains(u).Blockers {
		out = append(out, Blocker{string(b.Category), b.Kind, b.Namespace, b.Name, b.Message, b.Ending})
	}
	return out
}

// connection is "yes", "no" or "unknown".
func connection(m *hub.MemberCluster) (state, message string) {
	c := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionConnected)
	switch {
	case c == nil || c.Status == metav1.ConditionUnknown:
		return "Unknown", view.ConditionMessage(m.Status.Conditions, hub.ConditionConnected)
	case c.Status == metav1.ConditionTrue:
		return "Connected", ""
	}
	return "Disconnected", c.Message
}
