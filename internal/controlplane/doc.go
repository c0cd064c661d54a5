// Package controlplane installs, verifies and retires istiod revisions. It is the only place that knows how the objects
// of an Istio control plane hang together; Helm and xDS are behind small interfaces.
//
// # Installing B beside A
//
// CRDs and base chart of the new version, then istiod B with the values of A. Nothing leads to B yet: values that would
// move tags or the validator are never carried over, and the validator keeps its failurePolicy through the upgrade of the
// base chart. B is ready when its Deployment is available, a dry run through the API server shows that its webhook injects,
// and its xDS port serves.
//
// # Retiring A
//
// The order is what keeps requests answered. Each step is one or several single writes, each of which leaves the mesh in
// a state in which every pod is injected by exactly one revision; each can be repeated; and each refuses while the one
// before it is not done, so the order does not depend on the caller.
//
//	0  Gateways of the Gateway API are pinned to a revision     caller; else moving a tag restarts them all (H5)
//	1  Rehome             tags and their Services, the default
//	                      injector, the default validator, and
//	                      the Helm releases that would put
//	                      them back                             else H1: no configuration can be written; H4
//	2  RelabelNamespaces  istio.io/rev=A becomes B              else H3: pods without sidecars, silently
//	3  the handover is taken away                               caller
//	4  ScaleDown          replicas are noted, zero istiods run  refuses while anything leads to A: else H2
//	5  soak                                                     caller; ScaleUp brings A back
//	6  Uninstall          Helm release or istioctl's objects    refuses while A runs or anything leads to it: else H3
//	7  Leftovers          Leases of A's leader elections
//
// What revisions share is never touched: CRDs, istio-ca-secret, istio-ca-root-cert, shared leader elections,
// istio-reader-service-account. docs/decommission.md tells the same to the person who has to look at it at night.
package controlplane
