package preflight

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

// Source is one place that facts come from. It is read as a whole, or it is unknown.
type Source string

// Sources besides the inventory, without which nothing can be checked.
const (
	Nodes        Source = "nodes"
	Quotas       Source = "quotas"
	Templates    Source = "templates"
	Budgets      Source = "budgets"
	Webhooks     Source = "webhooks"
	Services     Source = "services"
	Certificates Source = "certificates"
	CRDs         Source = "crds"
	Daemons      Source = "daemons"
	Istiods      Source = "istiods"
	Config       Source = "config"
	Rehearsal    Source = "rehearsal"
	Admission    Source = "admission"
)

var words = map[Source]string{
	Nodes: "the nodes and what runs on them", Quotas: "the resource quotas", Templates: "the pod templates of workloads", Budgets: "the PodDisruptionBudgets",
	Webhooks: "the webhook configurations and the Services behind them", Services: "the Services", Certificates: "the certificates of the CA",
	CRDs: "the CRDs", Daemons: "the DaemonSets of istio-cni and ztunnel", Istiods: "the Deployments and the configuration of istiod",
	Config: "the objects of Istio and of the Gateway API", Rehearsal: "the answer to a dry run of istiod's next pod", Admission: "the new istiod's answers to dry runs",
}

// Words is what the source holds, for people.
func (s Source) Words() string {
	if w, ok := words[s]; ok {
		return w
	}
	return string(s)
}

// Facts is everything that checks know. Slices are in no particular order.
type Facts struct {
	// Now is when the facts were read.
	Now time.Time
	// From is the revision that is left; it has no name when it is not clear which.
	From mesh.Revision
	// To is the revision that is entered, with its full version.
	To v1alpha1.RevisionRef
	// Installed is true when To runs already.
	Installed bool
	// Verdict of the gates about such an upgrade.
	Verdict gate.Verdict
	// Inventory of the cluster.
	Inventory *mesh.Inventory
	// Kubernetes versions that the new release supports, minor ones.
	Kubernetes []string
	// Changes of behaviour that the upgrade meets.
	Changes []v1alpha1.Change
	// Unknown says of each source that could not be read why.
	Unknown map[Source]string

	Nodes        []Node
	Quotas       []Quota
	Templates    []Template
	Budgets      []Budget
	Webhooks     []Webhook
	Services     []Service
	Certificates CA
	CRDs         []CRD
	Daemons      []Daemon
	Istiods      []Istiod
	// Config are objects of Istio, of the Gateway API, and of the kinds that Changes name.
	Config []Resource
	// Rehearsal is the answer to a dry run of a pod like istiod's; "" when it was accepted.
	Rehearsal string
	// Admission has the answers of the new istiod, when it runs.
	Admission []Answer
}

// Node is one node with what is left on it.
type Node struct {
	Name string
	// Kubelet version, "v1.37.2".
	Kubelet string
	Labels  map[string]string
	// Ready and not cordoned.
	Schedulable bool
	// Taints that keep pods away, as key or key=value.
	Taints []Taint
	// FreeCPU in millicores and FreeMemory in bytes are what requests of its pods leave; FreePods is how many more pods it takes.
	FreeCPU, FreeMemory, FreePods int64
	// ControlPlanePods are the labels of the pods of the Istio namespace that run on it.
	ControlPlanePods []map[string]string
}

// Taint keeps pods from a node that do not tolerate it.
type Taint struct{ Key, Value, Effect string }

// Quota is one ResourceQuota: what is left of each resource, in thousandths of its unit.
type Quota struct {
	Namespace, Name string
	Left            map[string]int64
}

// Istiod is the Deployment of one revision, and what it reads.
type Istiod struct {
	Revision string
	// CPU in millicores and Memory in bytes that one pod requests.
	CPU, Memory  int64
	NodeSelector map[string]string
	// Apart are the required rules of pod anti-affinity.
	Apart       []Apart
	Tolerations []Taint
	// Env of its container, plain values only.
	Env map[string]string
	// Mesh is the mesh configuration, decoded; nil when there is none.
	Mesh map[string]any
	// Templates for injection that it has, by name.
	Templates []string
}

// Apart is a rule by which a pod does not come near other pods.
type Apart struct {
	Selector *metav1.LabelSelector
	Topology string
}

// Template is what an inventory does not know of a workload's pods.
type Template struct {
	mesh.Ref
	Labels map[string]string
	// Readiness is true when every container of the application has a readiness probe.
	Readiness bool
	// Grace in seconds, and PreStop, the seconds that a preStop hook sleeps at the most; 0 without a hook, -1 when it cannot be known.
	Grace, PreStop int64
	// Drain in seconds that the proxy waits before it ends.
	Drain int64
	// CPU in millicores and Memory in bytes that the application requests.
	CPU, Memory int64
	// LowPorts is true when its pods may bind ports below 1024.
	LowPorts bool
}

// Budget is one PodDisruptionBudget.
type Budget struct {
	Namespace, Name string
	Selector        *metav1.LabelSelector
	// Allowed, Expected and Healthy pods as the disruption controller counts them.
	Allowed, Expected, Healthy int32
}

// Backend says whether the Service behind a webhook answers.
type Backend string

// Backends.
const (
	Answers     Backend = "Answers"
	NoService   Backend = "NoService"
	NoEndpoints Backend = "NoEndpoints"
	// Outside is a URL, of which nothing is known.
	Outside Backend = "Outside"
)

// Webhook is one entry of an admission webhook configuration.
type Webhook struct {
	Configuration, Name string
	Mutating            bool
	// Fail is true when a failed call refuses the request.
	Fail bool
	// Service as namespace/name.
	Service string
	Backend Backend
	// Pods and Istio tell whether its rules select pods, and objects of Istio or the Gateway API.
	Pods, Istio                       bool
	NamespaceSelector, ObjectSelector *metav1.LabelSelector
}

// Service is what matters of a Service.
type Service struct {
	Namespace, Name string
	Selector        map[string]string
	// TargetPorts by number; named ones are left out.
	TargetPorts []int32
}

// CA is what is known of Istio's certificate authority.
type CA struct {
	// Plugged is the certificate of the secret cacerts, SelfSigned that of istio-ca-secret; nil when the secret does not exist.
	Plugged, SelfSigned *Certificate
	// Distributed is the root in ConfigMap istio-ca-root-cert of the Istio namespace, which running proxies trust.
	Distributed *Certificate
	// Hidden says why the secrets could not be read; "" when they could.
	Hidden string
}

// Certificate is a CA certificate.
type Certificate struct {
	// Where it is, as kind/name.
	Where Object
	// Roots are fingerprints (SHA-256) of the root certificates.
	Roots []string
	// NotAfter is when the first certificate of the chain ends.
	NotAfter time.Time
}

// CRD is one CustomResourceDefinition of Istio or the Gateway API.
type CRD struct {
	Name string
	// Bundle is the version of the Gateway API it belongs to, "v1.5.1"; Channel is standard or experimental.
	Bundle, Channel string
}

// Daemon is a DaemonSet of istio-cni or ztunnel.
type Daemon struct {
	Object
	// Component is "istio-cni" or "ztunnel".
	Component string
	Version   string
}

// Resource is one object of the cluster with its content.
type Resource struct {
	Object
	Group string
	// Content as decoded JSON.
	Content map[string]any
}

// Answer is what the new istiod says of one object, by a dry run.
type Answer struct {
	Object
	// Denied is its refusal; "" when it takes the object.
	Denied string
	// Warnings it gives.
	Warnings []string
	// Failed says why there is no answer.
	Failed string
}
