// Package member connects the hub with the clusters of its meshes.
//
// [Links] holds one link for each MemberCluster. A link asks its API server every few seconds whether it answers, keeps
// watch-backed copies of the few small objects of Meshlift that the hub needs, and tells listeners when something changed. A
// [Keeper] makes and drops links as MemberClusters and their Secrets come, change and go.
//
// Every link has a transport, a limit of requests and goroutines of its own, and every request an end: a cluster that accepts
// connections and never answers costs others nothing. While the probe says that a cluster does not answer, requests fail at
// once with the sentence of the probe.
package member
