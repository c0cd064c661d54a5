package simproxy

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Resource types of the protocol.
const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	endpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	httpManager  = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

// Field numbers of the few message fields that a proxy needs in order to know what to ask for next.
const (
	responseVersion, responseResources, responseType, responseNonce = 1, 2, 4, 5 // DiscoveryResponse
	anyType, anyValue                                               = 1, 2       // google.protobuf.Any

	clusterName, clusterDiscovery, clusterEDS = 1, 2, 3 // Cluster; EdsClusterConfig:
	edsServiceName                            = 2
	discoveryEDS                              = 3 // Cluster.DiscoveryType

	listenerChains, listenerDefaultChain = 3, 25 // Listener
	chainFilters                         = 3     // FilterChain
	filterConfig                         = 4     // Filter
	managerRDS                           = 3     // HttpConnectionManager
	rdsName                              = 2     // Rds

	requestVersion, requestNode, requestNames, requestType, requestNonce, requestError = 1, 2, 3, 4, 5, 6 // DiscoveryRequest
	statusCode, statusMessage                                                          = 1, 2             // google.rpc.Status
)

// response is all that is kept of a DiscoveryResponse.
type response struct {
	Type    string
	Version string
	Nonce   string
	Names   []string // what to subscribe to next: endpoints named by clusters, routes named by listeners; sorted
}

// codec passes encoded requests through and decodes only a response's names, so that bodies are never kept.
type codec struct{}

// Name tells gRPC that these are protobuf messages.
func (codec) Name() string { return "proto" }

// Marshal sends an encoded message as it is.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("simproxy codec cannot send %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal decodes a DiscoveryResponse into a *response.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*response)
	if !ok {
		return fmt.Errorf("simproxy codec cannot receive %T", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return r.decode(buffer.ReadOnlyData())
}

// decode reads b, which belongs to the caller: every string kept is a copy.
func (r *response) decode(b []byte) error {
	*r = response{}
	var resources [][]byte
	err := eachField(b, func(num protowire.Number, value []byte, _ uint64) error {
		switch num {
		case responseVersion:
			r.Version = string(value)
		case responseType:
			r.Type = typeName(value)
		case responseNonce:
			r.Nonce = string(value)
		case responseResources:
			resources = append(resources, value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decode discovery response: %w", err)
	}
	var extract func([]byte, map[string]bool) error
	switch r.Type {
	case clusterType:
		extract = endpointNames
	case listenerType:
		extract = routeNames
	default:
		return nil
	}
	names := map[string]bool{}
	for _, resource := range resources {
		_, body, err := unpackAny(resource)
		if err == nil {
			err = extract(body, names)
		}
		if err != nil {
			return fmt.Errorf("decode %s: %w", r.Type[strings.LastIndex(r.Type, ".")+1:], err)
		}
	}
	r.Names = make([]string, 0, len(names))
	for n := range names {
		r.Names = append(r.Names, n)
	}
	sort.Strings(r.Names)
	return nil
}

// typeName avoids an allocation for the types that are expected.
func typeName(b []byte) string {
	for _, t := range []string{clusterType, endpointType, listenerType, routeType} {
		if string(b) == t {
			return t
		}
	}
	return string(b)
}

// eachField calls f for every varint and length-delimited field of a message.
func eachField(b []byte, f func(num protowire.Number, value []byte, number uint64) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var value []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if kind != protowire.BytesType && kind != protowire.VarintType {
			continue
		}
		if err := f(num, value, number); err != nil {
			return err
		}
	}
	return nil
}

// unpackAny splits a google.protobuf.Any.
func unpackAny(b []byte) (typeURL string, value []byte, err error) {
	err = eachField(b, func(num protowire.Number, v []byte, _ uint64) error {
		switch num {
		case anyType:
			typeURL = typeName(v)
		case anyValue:
			value = v
		}
		return nil
	})
	return typeURL, value, err
}

// endpointNames adds the name under which an EDS cluster's endpoints are asked for.
func endpointNames(cluster []byte, names map[string]bool) error {
	var name, service string
	var discovery uint64
	err := eachField(cluster, func(num protowire.Number, v []byte, number uint64) error {
		switch num {
		case clusterName:
			name = string(v)
		case clusterDiscovery:
			discovery = number
		case clusterEDS:
			return eachField(v, func(num protowire.Number, v []byte, _ uint64) error {
				if num == edsServiceName {
					service = string(v)
				}
				return nil
			})
		}
		return nil
	})
	if err != nil || discovery != discoveryEDS {
		return err
	}
	if service == "" {
		service = name
	}
	names[service] = true
	return nil
}

// routeNames adds the route configurations that a listener's HTTP connection managers ask for.
func routeNames(listener []byte, names map[string]bool) error {
	return eachField(listener, func(num protowire.Number, chain []byte, _ uint64) error {
		if num != listenerChains && num != listenerDefaultChain {
			return nil
		}
		return eachField(chain, func(num protowire.Number, filter []byte, _ uint64) error {
			if num != chainFilters {
				return nil
			}
			return eachField(filter, func(num protowire.Number, config []byte, _ uint64) error {
				if num != filterConfig {
					return nil
				}
				return managerRoutes(config, names)
			})
		})
	})
}

// managerRoutes adds the route configuration of an HTTP connection manager; other filters have none.
func managerRoutes(config []byte, names map[string]bool) error {
	kind, manager, err := unpackAny(config)
	if err != nil || kind != httpManager {
		return err
	}
	return eachField(manager, func(num protowire.Number, rds []byte, _ uint64) error {
		if num != managerRDS {
			return nil
		}
		return eachField(rds, func(num protowire.Number, name []byte, _ uint64) error {
			if num == rdsName {
				names[string(name)] = true
			}
			return nil
		})
	})
}

// errInternal is the gRPC status code of a rejected configuration.
const errInternal = 13

// errNack is the detail that a rejecting proxy sends.
var errNack = errors.New("rejected by annotation " + ModeAnnotation + "=" + ModeNack)

// request is a DiscoveryRequest.
type request struct {
	Type    string
	Version string
	Nonce   string
	Names   string // encoded by encodeNames
	Node    []byte // encoded core.Node, on the first request of a stream
	Err     error  // rejects the configuration with this nonce
}

// encode returns the request as protobuf.
func (r request) encode() []byte {
	b := make([]byte, 0, len(r.Version)+len(r.Node)+len(r.Names)+len(r.Type)+len(r.Nonce)+64)
	if r.Version != "" {
		b = protowire.AppendString(protowire.AppendTag(b, requestVersion, protowire.BytesType), r.Version)
	}
	if len(r.Node) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, requestNode, protowire.BytesType), r.Node)
	}
	b = append(b, r.Names...)
	b = protowire.AppendString(protowire.AppendTag(b, requestType, protowire.BytesType), r.Type)
	if r.Nonce != "" {
		b = protowire.AppendString(protowire.AppendTag(b, requestNonce, protowire.BytesType), r.Nonce)
	}
	if r.Err != nil {
		status := protowire.AppendVarint(protowire.AppendTag(nil, statusCode, protowire.VarintType), errInternal)
		status = protowire.AppendString(protowire.AppendTag(status, statusMessage, protowire.BytesType), r.Err.Error())
		b = protowire.AppendBytes(protowire.AppendTag(b, requestError, protowire.BytesType), status)
	}
	return b
}

// encodeNames encodes resource names as they stand in a request.
func encodeNames(names []string) string {
	var b []byte
	for _, n := range names {
		b = protowire.AppendString(protowire.AppendTag(b, requestNames, protowire.BytesType), n)
	}
	return string(b)
}
