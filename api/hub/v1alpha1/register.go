package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of this package.
var GroupVersion = schema.GroupVersion{Group: "hub.meshlift.dev", Version: "v1alpha1"}

// BreakGlassAnnotation on an object that the hub would refuse to change lets one change through. Its value is the reason, a
// sentence. The hub records who did it, when, and why as an event and in the history; it has to be given again for each change.
const BreakGlassAnnotation = "hub.meshlift.dev/break-glass"

// FieldManager owns the fields that the hub applies to objects of members, besides the configuration of sidecars.
const FieldManager = "meshlift-hub"

// SidecarFieldManager owns spec.sidecars of ControlPlanes, which a member may refuse for a while although it takes the rest. A
// member that leaves its mesh keeps its configuration.
const SidecarFieldManager = "meshlift-hub-sidecars"

const (
	// MemberFinalizer keeps a MemberCluster that is deleted until the hub has taken leave of the cluster.
	MemberFinalizer = "hub.meshlift.dev/member"
	// ForgetAnnotation on a MemberCluster, with a reason, lets it go without a word to the cluster, which keeps the last answers
	// of the hub.
	ForgetAnnotation = "hub.meshlift.dev/forget"
	// MemberAccount is the name of the ServiceAccount of the hub in a member, and of the ClusterRole that holds its rights. The role owns
	// everything else of the account. It is not the name of the hub's own account, which may be in the same cluster.
	MemberAccount = "meshlift-hub-access"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Mesh{}, &MeshList{},
		&MemberCluster{}, &MemberClusterList{},
		&MeshUpgrade{}, &MeshUpgradeList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
