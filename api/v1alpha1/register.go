package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// SingletonName is the only name that a [ControlPlane] or [Catalog] may have.
const SingletonName = "default"

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "meshlift.dev", Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ControlPlane{}, &ControlPlaneList{},
		&Catalog{}, &CatalogList{},
		&ClusterUpgrade{}, &ClusterUpgradeList{},
		&DataPlaneRollout{}, &DataPlaneRolloutList{},
		&AdmissionClaims{}, &AdmissionClaimsList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
