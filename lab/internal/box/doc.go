// Package box runs a lab: one or several Kubernetes clusters with Istio on one Linux machine, without containers and
// without root.
//
//	lab up ──────── starts ───────► supervisor (detached, in network, mount and, when not root, user namespaces of its own)
//	   ▲  reports, until ready ─────┘   │ per cluster: bridge, control plane (sub-processes), process kubelet, Service
//	lab exec ── Unix socket, passes     │ proxy, DNS, simulated proxies; chart repository; relays from the host
//	   its descriptors ────────────►    └ runs commands for `lab exec` inside the namespaces
//
// Everything that a lab runs descends from its supervisor and ends with it, also when that is killed. All state is below
// one directory. Several labs can run at once: they share nothing.
package box
