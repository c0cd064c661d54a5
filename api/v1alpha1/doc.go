// Package v1alpha1 holds the kinds that Meshlift keeps in a member cluster.
//
// They are the only state of Meshlift: every command of the command line and every button of the web UI is an edit of
// one of these objects, so GitOps can do the same, and a crash at any point loses nothing.
//
//   - [ControlPlane] says which Istio revisions a cluster has and who uses them (one object, named "default").
//   - [Catalog] says which upgrades are supported and where charts come from (one object, named "default", overrides
//     the catalog that is built into Meshlift).
//   - [ClusterUpgrade] is one upgrade of the cluster from one revision to another, in five gated steps.
//   - [DataPlaneRollout] is one batch of data planes moved to the new revision, or back.
//
// +kubebuilder:object:generate=true
// +groupName=meshlift.dev
package v1alpha1
