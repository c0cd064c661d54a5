package xdsdiff

import "meshlift.dev/meshlift/internal/mesh"

// Facts are what the classes of proxies depend on.
type Facts struct {
	// RootNamespace is the one whose configuration is for all namespaces.
	RootNamespace string
	// Usual are the versions that proxies have; one of another version is in a class of its own.
	Usual    []string
	Proxies  []Proxy
	Services []Service
	// Config are the objects of Istio, with or without a selector.
	Config []Object
}

// Proxy is one running proxy.
type Proxy struct {
	Namespace, Pod string
	// Workload that the pod belongs to; its own name when it belongs to none.
	Workload mesh.Ref
	// Revision that injected it, and the version that it is.
	Revision, Version string
	// Type is "sidecar", "router" or "waypoint".
	Type           string
	ServiceAccount string
	Labels         map[string]string
	// Ports of its containers by name.
	Ports map[string]int32
	Node  Node
	// Why it cannot be compared; "" when it can.
	Unfit string
}

// Node is what a proxy says of itself to istiod.
type Node struct {
	ID, Cluster string
	Metadata    map[string]any
}

// Service is what matters of a Service.
type Service struct {
	Namespace, Name string
	Selector        map[string]string
	Headless        bool
	Ports           []ServicePort
}

// ServicePort is one port of a Service.
type ServicePort struct {
	Port int32
	// Target is the port of the pod; TargetName names it when it is 0.
	Target     int32
	TargetName string
	// Protocol as istiod reads it: appProtocol, else what the name begins with, else that of the transport.
	Protocol string
}

// Object is one object of Istio or of the Gateway API.
type Object struct {
	Kind, Group, Namespace, Name string
	// Spec as decoded JSON.
	Spec map[string]any
}

// String is "kind namespace/name".
func (o Object) String() string { return o.Kind + " " + o.Namespace + "/" + o.Name }
