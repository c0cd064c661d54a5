// Package component decides about the components of a cluster besides Istio: which version of each runs and which is offered, and
// what to do about those that somebody asked to upgrade. It is pure.
//
// A request is answered once. What is under way is derived from the records of Helm and OLM in the cluster; only a failure is
// remembered, in the status of the MemberCluster, with the time of the request that failed. A later request is a retry. Nothing
// is ever brought to an older version, and nothing changes that nobody asked for.
package component
