// Package mesh describes what one cluster's Istio looks like, as plain values: which revisions run, which webhook injects
// which pod, which workloads use which revision and why. It reads nothing and changes nothing; package observe fills an
// [Inventory], and every decision of Meshlift is a function of it.
package mesh

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// Inventory is everything that Meshlift knows about the Istio of one cluster at one moment.
type Inventory struct {
	// IstioNamespace is the namespace of the control planes, "istio-system" in most clusters.
	IstioNamespace string
	// KubernetesVersion of the API server, for example "v1.37.2".
	KubernetesVersion string
	// Claimable tells whether the API server can choose the revision of a pod at admission
	// (MutatingAdmissionPolicies, https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/).
	Claimable bool
	// Revisions of istiod, sorted by name.
	Revisions []Revision
	// Configurations are the mutating webhook configurations that inject, sorted by name.
	Configurations []Configuration
	// Validators are the validating webhook configurations of Istio.
	Validators []Validator
	// Namespaces by name.
	Namespaces map[string]Namespace
	// Workloads that are data planes or could become one, sorted by [Ref.Compare]. Workloads that no injector selects,
	// that have no injected pod and that do not pin a revision are left out.
	Workloads []Workload
	// LoosePods are pods of a data plane that belong to none of Workloads: bare pods, pods of Jobs and of kinds that
	// Meshlift does not drive.
	LoosePods []LoosePod
	// TemplateReferences are pod templates outside Workloads (of Jobs) that name a revision themselves.
	TemplateReferences []TemplateReference
	// EnvoyFilters of the cluster, sorted by namespace and name.
	EnvoyFilters []EnvoyFilter
	// RemoteSecrets are the secrets through which other clusters' control planes are reached
	// (https://istio.io/latest/docs/setup/install/multicluster/), as namespace/name.
	RemoteSecrets []string
}

// Revision is one istiod revision.
type Revision struct {
	// Name as in istio.io/rev; "default" for an installation without a revision.
	Name string
	// Version of istiod, from its image tag without variant, for example "1.30.0".
	Version string
	// Deployment and Service name in the Istio namespace: "istiod-1-30", or "istiod" without a revision.
	Deployment string
	// Hub is the registry of the istiod image, for example "docker.io/istio".
	Hub string
	// Tag is the image tag of istiod, with variant, for example "1.30.0-distroless".
	Tag string
	// InstalledBy is "Helm", "Istioctl" or "Unknown".
	InstalledBy string
	// Release is the Helm release, if any.
	Release string
	// Replicas wanted and ready.
	Replicas, ReadyReplicas int32
	// Tags that point to the revision, sorted.
	Tags []string
}

// Namespace is what matters of a namespace.
type Namespace struct {
	Labels      map[string]string
	Annotations map[string]string
	Terminating bool
}

// Role says what a data plane does.
type Role string

// Roles of data planes.
const (
	Sidecar        Role = "Sidecar"
	IngressGateway Role = "IngressGateway"
	EgressGateway  Role = "EgressGateway"
	// GenericGateway is a gateway that does not say whether traffic comes in or goes out.
	GenericGateway Role = "Gateway"
)

// IsGateway tells whether the role is that of a gateway of any kind.
func (r Role) IsGateway() bool { return r != Sidecar }

// Kinds of workloads that Meshlift can move.
const (
	KindDeployment  = "Deployment"
	KindStatefulSet = "StatefulSet"
	KindDaemonSet   = "DaemonSet"
	// KindReplicaSet is a ReplicaSet without a Deployment above it.
	KindReplicaSet = "ReplicaSet"
	// KindCronJob makes no pods of its own: its Jobs do, and those that run are let finish.
	KindCronJob = "CronJob"
	// KindPod is a pod that nothing owns.
	KindPod = "Pod"
	// KindRollout is a Rollout of Argo (argoproj.io).
	KindRollout = "Rollout"
	// KindGateway is a Gateway of gateway.networking.k8s.io; its Deployment belongs to istiod.
	KindGateway = "Gateway"
)

// Ref names a workload.
type Ref struct{ Kind, Namespace, Name string }

// String is "namespace/kind/name", as people write it.
func (r Ref) String() string { return r.Namespace + "/" + r.Kind + "/" + r.Name }

// Compare orders by namespace, kind and name.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Kind, o.Kind), cmp.Compare(r.Name, o.Name))
}

// Strategy is how a workload replaces its pods.
type Strategy struct {
	// Type: RollingUpdate, Recreate or OnDelete.
	Type string
	// MaxSurge and MaxUnavailable, resolved to pods.
	MaxSurge, MaxUnavailable int32
	// RawMaxSurge and RawMaxUnavailable as in the object ("25%", "1"); empty when not set.
	RawMaxSurge, RawMaxUnavailable string
	// Partition of a StatefulSet: pods with a lower ordinal keep the old template
	// (https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#partitions).
	Partition int32
}

// Progress is what the workload's controller reports.
type Progress struct {
	// Generation and ObservedGeneration of the workload; the rest counts only when they are equal.
	Generation, ObservedGeneration int64
	Replicas, Updated, Ready       int32
	Available, Unavailable         int32
	// Paused Deployments do not roll.
	Paused bool
	// DeadlineExceeded is the condition Progressing=False, reason ProgressDeadlineExceeded.
	DeadlineExceeded bool
	// Failure is the message of the condition ReplicaFailure, for example a quota that was hit.
	Failure string
	// Behind is true while pods of an older pod template live, see [StatefulSetBehind] and [DaemonSetBehind]. It is not
	// filled in for Deployments, which hold nothing back.
	Behind bool
}

// MaxAttempt bounds attempts. A record is an annotation, so whoever may change the workload can write any number there.
const MaxAttempt = 1 << 20

// Move is the record that Meshlift keeps on a workload of the last move it made (annotation meshlift.dev/move, JSON).
type Move struct {
	// To is the revision moved to.
	To string `json:"to"`
	// From is the revision moved from.
	From string `json:"from"`
	// Started is when the pod template was changed.
	Started time.Time `json:"started"`
	// Attempt counts from 1.
	Attempt int32 `json:"attempt"`
	// Rollout is the name of the DataPlaneRollout that made the move.
	Rollout string `json:"rollout,omitempty"`
	// Pin is the revision that the pod template named by its label istio.io/rev before the move, if it named the old one.
	Pin string `json:"pin,omitempty"`
}

// Pod is one live pod of a workload. Pods that have ended (phase Succeeded or Failed) are not in the inventory.
type Pod struct {
	Name string
	// Revision that injected it: from the annotation sidecar.istio.io/status, else istio.io/rev; "" when not injected.
	Revision string
	// ProxyVersion from the image tag of istio-proxy; "" when unknown.
	ProxyVersion string
	Ready        bool
	Terminating  bool
	// Labels of the pod.
	Labels map[string]string
	// UID tells the pod from a later one of the same name.
	UID string
	// Created is when the API server created it.
	Created time.Time
	// ReadyAfter is how long after its creation it became ready, for the last time; to the second, as Kubernetes tells it. It means
	// nothing unless the pod is ready.
	ReadyAfter time.Duration
	// Attempt is its annotation meshlift.dev/attempt, which it has from its pod template.
	Attempt string
}

// Workload is one data plane: a workload with sidecars, or a gateway.
type Workload struct {
	Ref
	Role Role
	// TemplateLabels and TemplateAnnotations of the pod template; for a Gateway (kind) the labels and annotations of the
	// Gateway object itself.
	TemplateLabels      map[string]string
	TemplateAnnotations map[string]string
	// Annotations of the workload itself.
	Annotations map[string]string
	HostNetwork bool
	// HostPorts is true when a container binds a port of the node, so two pods cannot share a node.
	HostPorts bool
	// Desired number of pods.
	Desired  int32
	Strategy Strategy
	Progress Progress
	Pods     []Pod
	// Owner is the controller of the workload, as kind/name, if it has one.
	Owner string
	// Move is the last move that Meshlift made; nil when it made none.
	Move *Move
	// Foreign says why its pod template is not Meshlift's to change, so that it is moved at admission; "" when it is.
	Foreign string
	// Claim is set while the workload is moved at admission; Move is then the record of the claim.
	Claim *Claim
}

// LoosePod is a pod of a data plane outside the workloads that Meshlift drives.
type LoosePod struct {
	Pod
	Namespace string
	// Owner as kind/name; "" for a bare pod.
	Owner string
	Role  Role
}

// TemplateReference is a pod template that names a revision by its label istio.io/rev.
type TemplateReference struct {
	Ref
	// Revision behind the label, tags resolved.
	Revision string
}

// EnvoyFilter is one EnvoyFilter of the cluster.
type EnvoyFilter struct {
	Namespace, Name string
	// Hash of its spec: the first 16 hexadecimal digits of SHA-256 over the canonical JSON.
	Hash string
	// Owner as far as it can be found out.
	Owner string
	// Spec is its spec as JSON.
	Spec string
}

// Revision returns the revision with that name.
func (i *Inventory) Revision(name string) (Revision, bool) {
	n, ok := slices.BinarySearchFunc(i.Revisions, name, func(r Revision, s string) int { return cmp.Compare(r.Name, s) })
	if !ok {
		return Revision{}, false
	}
	return i.Revisions[n], true
}

// Workload returns the workload with that reference.
func (i *Inventory) Workload(ref Ref) (Workload, bool) {
	n := sort.Search(len(i.Workloads), func(n int) bool { return i.Workloads[n].Compare(ref) >= 0 })
	if n == len(i.Workloads) || i.Workloads[n].Ref != ref {
		return Workload{}, false
	}
	return i.Workloads[n], true
}
