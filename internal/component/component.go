package component

import (
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/release"
)

// Names of the rows that are always there.
const (
	Istio      = "istio"
	Kubernetes = "kubernetes"
)

// AgentChart is the chart of our own agent. Without a repository of its own it is the one that is built into the hub.
const AgentChart = "meshlift-agent"

// RequestLabel on a revision of a Helm release says which request made it.
const RequestLabel = "meshlift.dev/component-request"

// Stamp is the value of [RequestLabel].
func Stamp(at metav1.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// Times of a request.
const (
	// ReadyWithin is how long the pods of a new version may take to become ready.
	ReadyWithin = 5 * time.Minute
	// Patience is how long a step that could not be begun is tried again, and OLM may take to make an install plan.
	Patience = 2 * time.Minute
)

// Helm is a Helm release as it was found.
type Helm struct {
	// Last is the newest revision. Deployed is the one that is deployed, else the newest that was once; nil when there is none.
	Last     release.Release
	Deployed *release.Release
	// Health of the workloads of Last; nil when it was not looked at.
	Health *Health
}

// Health of the workloads of a release.
type Health struct {
	Ready bool
	// Failed is true when Kubernetes itself has given up.
	Failed bool
	// Message says in a sentence what is not ready, and why.
	Message string
}

// Subscription of OLM as it was found (https://olm.operatorframework.io/docs/concepts/crds/subscription/).
type Subscription struct {
	Namespace, Name, Package, Channel string
	// Manual tells whether somebody has to approve install plans.
	Manual bool
	// Installed and Current are the names of the ClusterServiceVersions that are installed and that OLM goes to.
	Installed, Current string
	// CurrentPhase and CurrentMessage are the status of Current; empty when it is not there yet.
	CurrentPhase, CurrentMessage string
	// Plan that the subscription waits for, or that was made last.
	Plan *InstallPlan
}

// InstallPlan of OLM.
type InstallPlan struct {
	Name     string
	Approved bool
	// Phase of it, and what went wrong.
	Phase, Message string
	// New are the ClusterServiceVersions that it would install and that are not there yet.
	New []string
}

// Mesh is what is known about the Istio of the cluster.
type Mesh struct {
	// Installed tells whether our agent reports at all.
	Installed bool
	// Versions of all istiods.
	Versions []string
	// Upgrade that is not finished; empty when there is none.
	Upgrade string
	// Problem is why it is not known.
	Problem string
}

// Input is everything that the decision depends on.
type Input struct {
	Catalog  catalog.Catalog
	Requests []hub.ComponentRequest
	// Before are the rows of the last pass.
	Before []hub.ComponentStatus
	Now    time.Time

	Helm []Helm
	// HelmProblem is why the releases are not known.
	HelmProblem   string
	Subscriptions []Subscription
	// OLMProblem is why the subscriptions are not known. That there is no OLM is no problem.
	OLMProblem string
	Mesh       Mesh
	// Kubernetes is the version of the API server; empty when it is not known.
	Kubernetes string

	// Trouble says of components why the last step of the present request could not be done.
	Trouble map[string]string
	// ReadyWithin replaces the constant when it is set.
	ReadyWithin time.Duration
}

// Kind of an [Action].
type Kind string

// Kinds of actions. Each may be repeated.
const (
	Upgrade    Kind = "upgrade the Helm release"
	RollBack   Kind = "roll the Helm release back"
	SetChannel Kind = "change the channel of the subscription"
	Approve    Kind = "approve the install plan"
)

// Action is one step to be done in the cluster.
type Action struct {
	Kind      Kind
	Component string
	// Release as it should be; of a rollback only its name and namespace.
	Release release.Spec
	// Namespace and Name of the subscription or install plan.
	Namespace, Name string
	// Channel to set.
	Channel string
	// CSV that the install plan must install, or it is not approved.
	CSV string
}

// Plan is what to say and what to do.
type Plan struct {
	Components []hub.ComponentStatus
	Actions    []Action
	// Busy is true while something is under way.
	Busy bool
}

// Decide makes one pass over the components of a cluster.
func Decide(in Input) Plan {
	if in.ReadyWithin == 0 {
		in.ReadyWithin = ReadyWithin
	}
	d := &decision{in: in}
	for _, c := range in.Catalog.Components {
		d.out.Components = append(d.out.Components, d.component(c))
	}
	d.out.Components = append(d.out.Components, d.istio(), d.kubernetes())
	for n := range d.out.Components {
		r := &d.out.Components[n]
		r.Message = oneLine(r.Message)
		// A failure is written down before anything is rolled back, so that its reason is not lost.
		before := d.before(r.Name)
		fresh := r.Phase == hub.ComponentFailed && (before.Phase != hub.ComponentFailed || !before.RequestedAt.Equal(r.RequestedAt))
		d.out.Busy = d.out.Busy || r.Phase == hub.ComponentUpgrading || fresh
	}
	d.out.Busy = d.out.Busy || len(d.out.Actions) > 0
	return d.out
}

type decision struct {
	in  Input
	out Plan
}

func (d *decision) request(name string) *hub.ComponentRequest {
	for n := range d.in.Requests {
		if d.in.Requests[n].Name == name {
			return &d.in.Requests[n]
		}
	}
	return nil
}

func (d *decision) before(name string) hub.ComponentStatus {
	for _, r := range d.in.Before {
		if r.Name == name {
			return r
		}
	}
	return hub.ComponentStatus{}
}

// maxMessage is how long a sentence of others may be.
const maxMessage = 1000

// oneLine makes a sentence of what programs said.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return strings.TrimSuffix(s, ".")
}
