// Package observe reads one cluster into a [mesh.Inventory].
//
// It works in two halves: [Observer.Inventory] reads lists of objects and nothing else, and the pure function build turns
// them into the inventory. In the agent the lists come from the caches that [CacheOptions] describes, which hold only what
// build looks at; in the command line they come from the API server. Both give the same inventory.
package observe

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// RemoteSecretLabel marks the secrets through which Istio reaches other clusters; its value is "true"
// (https://istio.io/latest/docs/setup/install/multicluster/).
const RemoteSecretLabel = "istio/multiCluster"

// Kinds that exist only where Istio's or the Gateway API's CRDs are installed.
var (
	envoyFilterKind = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1alpha3", Kind: "EnvoyFilter"}
	gatewayKind     = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "Gateway"}
	gatewayBetaKind = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1beta1", Kind: "Gateway"}
)

// Observer reads the Istio of one cluster. It is safe for concurrent use.
type Observer struct {
	reader    client.Reader
	live      client.Reader
	server    Server
	unclaimed bool
	namespace string
	memory    *memory
}

// Option changes an [Observer].
type Option func(*Observer)

// WithLive gives the reader for what is never cached: events. It must read from the API server. Without it the reader of
// [New] is used, which is right only when that is not a cache.
func WithLive(live client.Reader) Option { return func(o *Observer) { o.live = live } }

// WithDiscovery gives the source of [mesh.Inventory.KubernetesVersion] and [mesh.Inventory.Claimable], which stay empty without it.
func WithDiscovery(s Server) Option { return func(o *Observer) { o.server = s } }

// WithoutClaims has no workload be claimable: with a handover by object selectors nobody writes the policy that claims need.
func WithoutClaims() Option { return func(o *Observer) { o.unclaimed = true } }

// WithMemory has the Observer remember for a short while what it would have to ask the API server for each time: its version,
// and which optional kinds it does not have. Without it every inventory asks.
func WithMemory(c clock.PassiveClock) Option { return func(o *Observer) { o.memory = newMemory(c) } }

// New returns an Observer of the mesh whose control planes run in the Istio namespace. In the agent the reader is the
// manager's cache itself (GetCache), made with [CacheOptions]: the manager's client reads unstructured objects live.
func New(reader client.Reader, istioNamespace string, options ...Option) *Observer {
	o := &Observer{reader: reader, live: reader, namespace: istioNamespace}
	for _, option := range options {
		option(o)
	}
	return o
}

// objects is everything that an inventory is made of.
type objects struct {
	istioNamespace    string
	kubernetesVersion string
	claimable         bool

	mutating      []admissionv1.MutatingWebhookConfiguration
	validating    []admissionv1.ValidatingWebhookConfiguration
	namespaces    []corev1.Namespace
	deployments   []appsv1.Deployment
	statefulSets  []appsv1.StatefulSet
	daemonSets    []appsv1.DaemonSet
	replicaSets   []appsv1.ReplicaSet // without a Deployment
	pods          []corev1.Pod
	cronJobs      []batchv1.CronJob
	jobs          []batchv1.Job
	services      []corev1.Service            // of the Istio namespace
	envoyFilters  []unstructured.Unstructured // networking.istio.io
	gateways      []unstructured.Unstructured // gateway.networking.k8s.io
	rollouts      []unstructured.Unstructured // argoproj.io
	claims        []v1alpha1.AdmissionClaims
	remoteSecrets []metav1.PartialObjectMetadata
}

// Inventory reads the cluster. The lists are read one after the other, so they may differ by moments; decisions are taken
// again on every change. An error means that nothing is known: there is no partial inventory.
func (o *Observer) Inventory(ctx context.Context) (*mesh.Inventory, error) {
	in, err := o.read(ctx)
	if err != nil {
		return nil, err
	}
	return build(in), nil
}

func (o *Observer) read(ctx context.Context) (objects, error) {
	in := objects{istioNamespace: o.namespace}
	if o.server != nil {
		s, err := o.memory.ask(o.server)
		if err != nil {
			return in, fmt.Errorf("read the version of the API server: %w", err)
		}
		in.kubernetesVersion, in.claimable = s.version, s.claimable && !o.unclaimed
	}
	var (
		mutating     admissionv1.MutatingWebhookConfigurationList
		validating   admissionv1.ValidatingWebhookConfigurationList
		namespaces   corev1.NamespaceList
		deployments  appsv1.DeploymentList
		statefulSets appsv1.StatefulSetList
		daemonSets   appsv1.DaemonSetList
		replicaSets  appsv1.ReplicaSetList
		pods         corev1.PodList
		cronJobs     batchv1.CronJobList
		jobs         batchv1.JobList
		services     corev1.ServiceList
		secrets      = metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}}
		istio        = client.InNamespace(o.namespace)
	)
	for _, l := range []struct {
		what    string
		list    client.ObjectList
		options []client.ListOption
	}{
		{"mutating webhook configurations", &mutating, nil},
		{"validating webhook configurations", &validating, nil},
		{"namespaces", &namespaces, nil},
		{"deployments", &deployments, nil},
		{"stateful sets", &statefulSets, nil},
		{"daemon sets", &daemonSets, nil},
		{"replica sets", &replicaSets, []client.ListOption{client.MatchingLabelsSelector{Selector: bareReplicaSets()}}},
		{"pods", &pods, nil},
		{"cron jobs", &cronJobs, nil},
		{"jobs", &jobs, nil},
		{"services of namespace " + o.namespace, &services, []client.ListOption{istio}},
		{"remote secrets of namespace " + o.namespace, &secrets, []client.ListOption{istio, client.MatchingLabels{RemoteSecretLabel: "true"}}},
	} {
		// build copies what it keeps and changes nothing, so the cache need not copy every object first.
		if err := o.reader.List(ctx, l.list, append(l.options, client.UnsafeDisableDeepCopy)...); err != nil {
			return in, fmt.Errorf("list %s: %w", l.what, err)
		}
	}
	in.mutating, in.validating = mutating.Items, validating.Items
	in.namespaces, in.pods, in.services = namespaces.Items, pods.Items, services.Items
	in.deployments, in.statefulSets, in.daemonSets, in.replicaSets = deployments.Items, statefulSets.Items, daemonSets.Items, replicaSets.Items
	in.remoteSecrets, in.cronJobs, in.jobs = secrets.Items, cronJobs.Items, jobs.Items

	var err error
	if in.envoyFilters, err = o.optional(ctx, envoyFilterKind); err != nil {
		return in, err
	}
	if in.gateways, err = o.optional(ctx, gatewayKind, gatewayBetaKind); err != nil {
		return in, err
	}
	if in.rollouts, err = o.optional(ctx, rolloutKind); err != nil {
		return in, err
	}
	in.claims, err = o.readClaims(ctx)
	return in, err
}

// optional lists a kind by the first of its versions that the API server has; no version means no objects.
func (o *Observer) optional(ctx context.Context, kinds ...schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	for _, kind := range kinds {
		if o.memory.misses(kind) {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		err := o.reader.List(ctx, list, client.UnsafeDisableDeepCopy)
		switch {
		case err == nil:
			return list.Items, nil
		case !missing(err):
			return nil, fmt.Errorf("list %s %s: %w", kind.GroupVersion(), kind.Kind, err)
		}
		o.memory.miss(kind)
	}
	return nil, nil
}

// missing tells whether the API server does not have the kind at all. NotFound of a list means the same: the REST mapper
// may remember a CRD that was deleted.
func missing(err error) bool { return meta.IsNoMatchError(err) || apierrors.IsNotFound(err) }
