package xdsdiff

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kind of resources, as people call it.
type Kind string

// Kinds in the order in which they are asked for and shown.
const (
	Clusters   Kind = "clusters"
	Endpoints  Kind = "endpoints"
	Listeners  Kind = "listeners"
	Routes     Kind = "routes"
	Extensions Kind = "extensions"
)

// Kinds are all kinds. Secrets are not among them and are never asked for: the names by which listeners and clusters refer to
// secrets are part of these.
var Kinds = []Kind{Clusters, Endpoints, Listeners, Routes, Extensions}

var typeURLs = map[Kind]string{
	Clusters: "type.googleapis.com/envoy.config.cluster.v3.Cluster", Endpoints: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	Listeners: "type.googleapis.com/envoy.config.listener.v3.Listener", Routes: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
	Extensions: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
}

// TypeURL is the kind's name in the protocol.
func (k Kind) TypeURL() string { return typeURLs[k] }

// All tells whether all resources of the kind are asked for; of the other kinds only those that were named before.
func (k Kind) All() bool { return k == Clusters || k == Listeners }

// Answer is what one istiod sends to one proxy: the encoded resources by kind and name. Of endpoints only the names are kept,
// because pods come and go between two answers.
type Answer map[Kind]map[string][]byte

// Add takes a resource as it was sent. All kinds have their name in their first field.
func (a Answer) Add(k Kind, value []byte) {
	name := ""
	fields(value, func(n protowire.Number, v []byte, _ uint64) {
		if n == 1 {
			name = string(v)
		}
	})
	if a[k] == nil {
		a[k] = map[string][]byte{}
	}
	if k == Endpoints {
		value = nil
	}
	a[k][name] = value
}

// Names are the resources of the kind that a proxy asks for once it has what is in the answer, sorted: endpoints of clusters, routes
// and extensions of listeners.
func (a Answer) Names(k Kind) []string {
	out := map[string]bool{}
	switch k {
	case Endpoints:
		for _, cluster := range a[Clusters] {
			endpointName(cluster, out)
		}
	case Routes, Extensions:
		for _, listener := range a[Listeners] {
			listenerNames(listener, k, out)
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// Size in bytes of the resources that are kept.
func (a Answer) Size() int {
	n := 0
	for _, resources := range a {
		for _, r := range resources {
			n += len(r)
		}
	}
	return n
}

// Numbers of fields (https://github.com/envoyproxy/envoy/tree/main/api/envoy/config).
const (
	clusterName, clusterType, clusterEDS, edsService = 1, 2, 3, 2
	byEDS                                            = 3 // the value of Cluster.type
	listenerChains, listenerDefault, listenerFilters = 3, 25, 9
	chainFilters                                     = 3
	filterName, filterConfig, filterDiscovery        = 1, 4, 5
	listenerFilterDiscovery                          = 5
	managerRDS, managerFilters, rdsName              = 3, 5, 2
	anyURL, anyValue                                 = 1, 2
)

const managerURL = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

func endpointName(cluster []byte, out map[string]bool) {
	name, service, kind := "", "", uint64(0)
	fields(cluster, func(n protowire.Number, v []byte, number uint64) {
		switch n {
		case clusterName:
			name = string(v)
		case clusterType:
			kind = number
		case clusterEDS:
			service = first(v, edsService)
		}
	})
	if kind != byEDS {
		return
	}
	if service == "" {
		service = name
	}
	out[service] = true
}

func listenerNames(listener []byte, k Kind, out map[string]bool) {
	fields(listener, func(n protowire.Number, v []byte, _ uint64) {
		switch n {
		case listenerFilters:
			discovered(v, listenerFilterDiscovery, k, out)
		case listenerChains, listenerDefault:
			fields(v, func(n protowire.Number, filter []byte, _ uint64) {
				if n == chainFilters {
					filterNames(filter, k, out)
				}
			})
		}
	})
}

func filterNames(filter []byte, k Kind, out map[string]bool) {
	discovered(filter, filterDiscovery, k, out)
	fields(filter, func(n protowire.Number, config []byte, _ uint64) {
		if n != filterConfig || first(config, anyURL) != managerURL {
			return
		}
		fields([]byte(first(config, anyValue)), func(n protowire.Number, v []byte, _ uint64) {
			switch n {
			case managerFilters:
				discovered(v, filterDiscovery, k, out)
			case managerRDS:
				if k == Routes {
					out[first(v, rdsName)] = true
				}
			}
		})
	})
}

// discovered adds the name of a filter whose configuration is an extension of its own.
func discovered(filter []byte, discovery protowire.Number, k Kind, out map[string]bool) {
	if k != Extensions {
		return
	}
	fields(filter, func(n protowire.Number, _ []byte, _ uint64) {
		if n == discovery {
			out[first(filter, filterName)] = true
		}
	})
}

// first is the last value of a text field, as protobuf has it; "" without one.
func first(message []byte, number protowire.Number) string {
	out := ""
	fields(message, func(n protowire.Number, v []byte, _ uint64) {
		if n == number {
			out = string(v)
		}
	})
	return out
}

// fields calls each for every field that is a message, a text or a number. What is broken ends it: the message is then shown as
// bytes.
func fields(message []byte, each func(n protowire.Number, value []byte, number uint64)) {
	for len(message) > 0 {
		n, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return
		}
		message = message[size:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, size = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(message)
		default:
			size = protowire.ConsumeFieldValue(n, kind, message)
		}
		if size < 0 {
			return
		}
		message = message[size:]
		if kind == protowire.BytesType || kind == protowire.VarintType {
			each(n, value, number)
		}
	}
}
