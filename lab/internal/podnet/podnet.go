// Package podnet gives every pod of a lab cluster its own network namespace.
//
// Each cluster has a bridge in the lab's root network namespace. The bridge's address is the
// gateway of the cluster's pods and the address on which the cluster's API server and kubelet
// listen. A pod has one end of a veth pair as eth0, an address in the bridge's network and a
// default route through the gateway, so that it reaches ClusterIPs (which live on lo of the root
// namespace) and the pods of other clusters.
package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/osthread"
)

// firstOctet is the second octet of the pod network of cluster 0.
const firstOctet = 128

// prefixBits is the size of a cluster's pod network.
const prefixBits = 16

// Network is the bridge of one cluster and the addresses of its pods.
type Network struct {
	index   int
	name    string
	gateway netip.Addr
	ips     *allocator
	serial  atomic.Uint64
	// ports are the names of the pods' interfaces on the bridge, by address.
	ports sync.Map
	// thread changes its network namespace all the time; nothing else must run on it.
	thread *osthread.Thread
}

// New creates the bridge lab<index> with the gateway address in the current network namespace.
// A bridge that is there already is used as it is, without the pods that an earlier run left on it.
func New(index int) (*Network, error) {
	if index < 0 || index > 31 {
		return nil, fmt.Errorf("cluster index %d is not between 0 and 31", index)
	}
	octet := byte(firstOctet + index)
	n := &Network{
		index:   index,
		name:    fmt.Sprintf("lab%d", index),
		gateway: netip.AddrFrom4([4]byte{10, octet, 0, 1}),
		ips:     newAllocator(netip.AddrFrom4([4]byte{10, octet, 1, 1}), netip.AddrFrom4([4]byte{10, octet, 255, 254})),
		thread:  osthread.New(),
	}
	if err := n.createBridge(); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", n.name, err)
	}
	if err := forwardPackets(); err != nil {
		return nil, err
	}
	return n, nil
}

// Gateway is the address of the bridge: the pods' default route.
func (n *Network) Gateway() netip.Addr { return n.gateway }

// Close removes the bridge and every pod interface on it.
func (n *Network) Close() error {
	link, err := netlink.LinkByName(n.name)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bridge %s: %w", n.name, err)
	}
	if err := n.removePorts(link); err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove bridge %s: %w", n.name, err)
	}
	return nil
}

func (n *Network) createBridge() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.name
	// Without an address of its own a bridge takes the lowest one of its ports: it would change when pods come and go,
	// and the other pods would send their packets to the old one until they ask again, for up to a minute.
	attrs.HardwareAddr = net.HardwareAddr{0x02, 'l', 'a', 'b', byte(n.index), 0x01}
	err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	if err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("create: %w", err)
	}
	link, err := netlink.LinkByName(n.name)
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	if err := n.removePorts(link); err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, address(n.gateway, prefixBits)); err != nil {
		return fmt.Errorf("add address %s: %w", n.gateway, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return loopbackUp()
}

// removePorts deletes the pod interfaces that are attached to the bridge.
func (n *Network) removePorts(bridge netlink.Link) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		if l.Attrs().MasterIndex != bridge.Attrs().Index {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !notFound(err) {
			return fmt.Errorf("remove stale port %s: %w", l.Attrs().Name, err)
		}
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// forwardPackets lets pods of different clusters reach each other through the root namespace.
func forwardPackets() error {
	const file = "/proc/sys/net/ipv4/ip_forward"
	if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == "1" {
		return nil
	}
	if err := os.WriteFile(file, []byte("1\n"), 0o644); err != nil {
		return fmt.Errorf("switch on packet forwarding: %w", err)
	}
	return nil
}

func address(ip netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
}

func notFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}
