package podnet

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Cut takes the pod with the address off the network, as if its cable were pulled: what is sent to it and by it is lost,
// and nobody is told. mend puts it back; it is no error when the pod has gone meanwhile.
func (n *Network) Cut(ip netip.Addr) (mend func() error, err error) {
	port, ok := n.ports.Load(ip)
	if !ok {
		return nil, fmt.Errorf("no pod that is a process has the address %s", ip)
	}
	name := port.(string) // nothing else is stored
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the port of pod %s: %w", ip, err)
	}
	// Down, a port would tell the pod that its network is gone. Out of the bridge, its packets go nowhere.
	if err := netlink.LinkSetNoMaster(link); err != nil {
		return nil, fmt.Errorf("cut pod %s off: %w", ip, err)
	}
	return func() error { return n.mend(name) }, nil
}

func (n *Network) mend(port string) error {
	link, err := netlink.LinkByName(port)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", port, err)
	}
	bridge, err := netlink.LinkByName(n.name)
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	if err := netlink.LinkSetMasterByIndex(link, bridge.Attrs().Index); err != nil {
		return fmt.Errorf("put %s back on the bridge: %w", port, err)
	}
	return nil
}
