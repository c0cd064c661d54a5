// Package v1alpha1 holds the kinds that Meshlift keeps in the hub, the cluster from which meshes of several clusters are
// managed.
//
//   - [Mesh] is an Istio mesh over one or more clusters, with the configuration of its sidecars.
//   - [MemberCluster] is one registered cluster: how it is reached, and what it is known to run.
//   - [MeshUpgrade] is one upgrade of some or all clusters of a mesh, in waves.
//
// The objects of a member (package api/v1alpha1) stay the truth about that member: the hub writes intent there and reads
// status, and a member goes on when the hub is gone. What the hub tells a member is in one place, [HubLink] of its ControlPlane.
//
// +kubebuilder:object:generate=true
// +groupName=hub.meshlift.dev
//
// [HubLink]: https://pkg.go.dev/meshlift.dev/meshlift/api/v1alpha1#HubLink
package v1alpha1
