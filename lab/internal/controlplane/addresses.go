package controlplane

import (
	"fmt"
	"net/netip"
)

// Domain is the DNS domain of every cluster of a lab.
const Domain = "cluster.local"

// MaxClusters is how many clusters one lab can have: the address plan gives each its own networks.
const MaxClusters = 32

// Addresses is the address plan of one cluster of a lab.
type Addresses struct {
	Index    int
	Gateway  netip.Addr   // address of the bridge: the control plane listens here
	Services netip.Prefix // Service CIDR
	Process  netip.Prefix // pods that are processes
	Sim      netip.Prefix // simulated pods
}

// AddressesOf returns the address plan of the cluster with the given index.
func AddressesOf(index int) Addresses {
	network := func(base int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(base + index), 0, 0}), 16)
	}
	p := network(128)
	return Addresses{Index: index, Gateway: p.Addr().Next(), Services: network(96), Process: p, Sim: network(160)}
}

// Kubernetes returns the ClusterIP of the Service `kubernetes`.
func (a Addresses) Kubernetes() netip.Addr { return a.Services.Addr().Next() }

// DNS returns the ClusterIP of the cluster's DNS.
func (a Addresses) DNS() netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(96 + a.Index), 0, 10})
}

// APIServer returns the address of the API server.
func (a Addresses) APIServer() netip.AddrPort { return netip.AddrPortFrom(a.Gateway, portAPIServer) }

// Server returns the URL of the API server.
func (a Addresses) Server() string { return "https://" + a.APIServer().String() }

const (
	portEtcd       = 2379
	portEtcdPeer   = 2380
	portAPIServer  = 6443
	portKwok       = 10247
	portController = 10257
	portScheduler  = 10259
)

func (a Addresses) at(port uint16) string { return netip.AddrPortFrom(a.Gateway, port).String() }

func (a Addresses) flag(name string, port int) string { return fmt.Sprintf("--%s=%d", name, port) }
