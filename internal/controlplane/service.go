package controlplane

import (
	"context"
	"errors"
	"reflect"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

// Labels and annotations that Meshlift puts on objects of control planes.
const (
	// UpgradeLabel on a Helm release names the ClusterUpgrade that installed it.
	UpgradeLabel = "meshlift.dev/upgrade"
	// ReplicasAnnotation on the Deployment of a control plane that is scaled to zero says how many replicas it had.
	ReplicasAnnotation = "meshlift.dev/replicas"
	// CRDsAnnotation on Istio's CRDs says which version Meshlift applied, where no Helm release owns them.
	CRDsAnnotation = "meshlift.dev/istio-crds"
)

// Of Istio and Helm.
const (
	defaultValidator = "istiod-default-validator"
	readerAccount    = "istio-reader-service-account" // shared; istioctl labels it with a revision all the same
	componentLabel   = "operator.istio.io/component"
	ownerLabel       = "install.operator.istio.io/owning-resource"
	helmName         = "meta.helm.sh/release-name"
	helmNamespace    = "meta.helm.sh/release-namespace"
	helmManaged      = "app.kubernetes.io/managed-by"
)

// Releases is what this package needs of Helm.
type Releases interface {
	// Release returns [release.ErrNotFound] when there is none of that name.
	Release(ctx context.Context, namespace, name string) (*release.Release, error)
	// Describe says what a chart is.
	Describe(ctx context.Context, source release.Source) (release.Chart, error)
	// Render returns the objects that a release would have.
	Render(ctx context.Context, spec release.Spec) ([]*unstructured.Unstructured, error)
	// Apply installs or upgrades a release, or does nothing.
	Apply(ctx context.Context, spec release.Spec) error
	// Amend gives other values to a release and keeps its chart.
	Amend(ctx context.Context, spec release.Spec) error
	// Uninstall removes a release if there is one.
	Uninstall(ctx context.Context, namespace, name string) error
}

// Prober tells whether the xDS port of a revision serves.
type Prober interface {
	Serves(ctx context.Context, revision mesh.Revision) error
}

// Options of a [Service].
type Options struct {
	// Client writes.
	Client client.Client
	// Live reads from the API server, not from a cache: webhooks are rewritten as they were read. Default: Client.
	Live client.Reader
	// Releases is Helm.
	Releases Releases
	// Prober asks istiod.
	Prober Prober
	// Namespace of the control planes; default istio-system.
	Namespace string
	// ProbeNamespaces are tried one after the other for the dry run that proves injection; default: the Istio namespace,
	// "default". A namespace that says something about injection itself is skipped.
	ProbeNamespaces []string
}

// Service installs, verifies and retires control planes. Every method looks at the cluster first and can be repeated.
type Service struct{ o Options }

// New returns a service.
func New(o Options) (*Service, error) {
	if o.Client == nil || o.Releases == nil || o.Prober == nil {
		return nil, errors.New("make the control plane service: client, releases and prober are needed")
	}
	if o.Live == nil {
		o.Live = o.Client
	}
	if o.Namespace == "" {
		o.Namespace = "istio-system"
	}
	if len(o.ProbeNamespaces) == 0 {
		o.ProbeNamespaces = []string{o.Namespace, "default"}
	}
	return &Service{o: o}, nil
}

// Refused says in one sentence what was not done, what is in the way, and what to do.
type Refused struct {
	// Reason is one of the v1alpha1.Reason constants.
	Reason  string
	Message string
}

// Error implements error.
func (r *Refused) Error() string { return r.Message }

// object returns the name of the Deployment, Service and other objects of a revision in the Istio namespace.
func object(prefix, revision string) string {
	if revision == mesh.DefaultRevision || revision == "" {
		return prefix
	}
	return prefix + "-" + revision
}

// deployment returns the Deployment of a revision, nil when there is none.
func (s *Service) deployment(ctx context.Context, revision string) (*appsv1.Deployment, error) {
	d := &appsv1.Deployment{}
	err := s.o.Live.Get(ctx, client.ObjectKey{Namespace: s.o.Namespace, Name: object("istiod", revision)}, d)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// injector returns the injector of a revision, nil when there is none. Tags are no injectors.
func (s *Service) injector(ctx context.Context, revision string) (*admissionv1.MutatingWebhookConfiguration, error) {
	list := &admissionv1.MutatingWebhookConfigurationList{}
	if err := s.o.Live.List(ctx, list, client.MatchingLabels{mesh.LabelRev: revision, "app": "sidecar-injector"}); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if _, tag := list.Items[i].Labels[mesh.LabelTag]; !tag {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// releaseOf returns the Helm release that owns an object.
func releaseOf(o client.Object) (namespace, name string, ok bool) {
	name = o.GetAnnotations()[helmName]
	return o.GetAnnotations()[helmNamespace], name, name != ""
}

// foreign refuses to touch a control plane that a controller owns, because it would put back what Meshlift changes.
func foreign(d *appsv1.Deployment) error {
	for _, owner := range d.OwnerReferences {
		return &Refused{v1alpha1.ReasonUserAction, "Deployment " + d.Namespace + "/" + d.Name + " belongs to " + owner.Kind + "/" + owner.Name +
			", whose operator would bring it back: remove that object with its own tools, and Meshlift goes on"}
	}
	return nil
}

// patch writes the difference that change makes to the object, if any. It never writes over a newer version: when there is
// one it reads it and changes that, so change may be called several times and must only look at the object.
func (s *Service) patch(ctx context.Context, o client.Object, change func()) (changed bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if changed { // the last attempt met a newer version
			key := client.ObjectKeyFromObject(o)
			reflect.ValueOf(o).Elem().SetZero()
			if err := s.o.Live.Get(ctx, key, o); err != nil {
				return err
			}
		}
		before, ok := o.DeepCopyObject().(client.Object)
		if !ok {
			return errors.New("copy object")
		}
		change()
		data, err := client.MergeFrom(before).Data(o)
		if err != nil {
			return err
		}
		if changed = string(data) != "{}"; !changed {
			return nil
		}
		locked := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		return s.o.Client.Patch(ctx, o, locked, client.FieldOwner(v1alpha1.FieldManager))
	})
	return changed && err == nil, err
}
