package webhook

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

// ConfigurationName is the ValidatingWebhookConfiguration that the chart meshlift-agent installs.
const ConfigurationName = "meshlift.dev"

// Options are the facts that the webhooks need; all are required.
type Options struct {
	// Reader of Meshlift's own objects and of Namespaces; a cached one will do.
	Reader client.Reader
	// Inventory of the cluster. It is asked when an upgrade is created or deleted.
	Inventory func(context.Context) (*mesh.Inventory, error)
	// Catalog in effect.
	Catalog func(context.Context) (catalog.Catalog, error)
	// Ours tells whether Meshlift installed a revision; nil means none.
	Ours func(mesh.Revision) bool
}

// Register serves the webhooks of all kinds on the manager's webhook server, at the paths that controller-runtime makes
// of group, version and kind ("/validate-meshlift-dev-v1alpha1-clusterupgrade").
func Register(mgr ctrl.Manager, o Options) error {
	if err := register(mgr, &v1alpha1.ClusterUpgrade{}, upgradeValidator{o}); err != nil {
		return err
	}
	if err := register(mgr, &v1alpha1.DataPlaneRollout{}, rolloutValidator{o}); err != nil {
		return err
	}
	if err := register(mgr, &v1alpha1.Catalog{}, catalogValidator{}); err != nil {
		return err
	}
	return register(mgr, &v1alpha1.ControlPlane{}, controlPlaneValidator{o})
}

func register[T runtime.Object](mgr ctrl.Manager, object T, v admission.Validator[T]) error {
	if err := ctrl.NewWebhookManagedBy(mgr, object).WithValidator(v).Complete(); err != nil {
		return fmt.Errorf("register webhook of %T: %w", object, err)
	}
	return nil
}

// Refusal is the error of an edit that a gate does not let through; its text is the verdict's sentence.
type Refusal struct{ gate.Verdict }

func (r *Refusal) Error() string { return r.Message }

// refuse turns a verdict into the answer to the API server: nil when passed.
func refuse(v gate.Verdict) error {
	if v.Passed() {
		return nil
	}
	return &Refusal{v}
}

// unknown is the answer when a fact could not be read.
func unknown(what string, err error) error {
	return fmt.Errorf("refused, because %s cannot be read now (try again): %w", what, err)
}
