// Package simproxy gives every simulated pod the part of its sidecar that a control plane can see: one real ADS
// connection to the istiod that the pod's injected environment names, with the pod's own node id, metadata and
// ServiceAccount identity. No traffic flows, but istiod's /debug/syncz, its metrics and its push load are true.
//
//	pods (informer, pruned) ──> fleet ──> one proxy per pod ──> session (one ADS stream)
//	                                        │ node.go: who am I        wire.go: names only, no bodies
//	                                        │ target.go: which istiod
//	                                        └ credentials.go: root, token, Service address
//
// A pod is served while it is Running on a simulated node and has an injected istio-proxy container; the connection
// ends when the pod starts to terminate. When istiod goes away the proxy reconnects with jittered back-off, using the
// root certificate and the token that are current at that moment, as pilot-agent does.
//
// For tests the pod annotation [ModeAnnotation] changes the behaviour of one proxy.
package simproxy

// ModeAnnotation on a pod changes how its simulated proxy behaves: [ModeNack] or [ModeOff]; with "@REVISION" behind it
// ("nack@1-31") only where that revision has injected the pod, as something that only a new istiod sends would.
const ModeAnnotation = "lab.meshlift.dev/xds"

// Values of [ModeAnnotation]. Anything else means the ordinary behaviour.
const (
	// ModeNack makes the proxy reject every listener update, as an Envoy does that cannot parse its configuration.
	ModeNack = "nack"
	// ModeOff keeps the proxy from connecting at all.
	ModeOff = "off"
)

// ProcessNode is the node whose pods are real processes: they speak for themselves.
const ProcessNode = "node-0"
