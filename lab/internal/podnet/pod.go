package podnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// localDialTimeout bounds a connection to a process of the pod on its own loopback.
const localDialTimeout = 5 * time.Second

// Pod is the network namespace of one pod. It lives until Close and until the last process in it
// has gone.
type Pod struct {
	// IP is the address of the pod's eth0.
	IP netip.Addr

	network *Network
	netns   *os.File
	port    string
}

// AddPod makes the network namespace of a pod and connects it to the bridge.
func (n *Network) AddPod() (*Pod, error) {
	ip, err := n.ips.take()
	if err != nil {
		return nil, err
	}
	p := &Pod{IP: ip, network: n, port: fmt.Sprintf("lab%dp%d", n.index, n.serial.Add(1))}
	if p.netns, err = n.newNamespace(); err != nil {
		n.ips.release(ip)
		return nil, err
	}
	if err := p.connect(); err != nil {
		return nil, errors.Join(fmt.Errorf("network of pod %s: %w", ip, err), p.Close())
	}
	n.ports.Store(ip, p.port)
	return p, nil
}

// Namespace is the open network namespace: pass it to setns, do not close it.
func (p *Pod) Namespace() *os.File { return p.netns }

// Close disconnects the pod and gives its address back.
func (p *Pod) Close() error {
	p.network.ports.CompareAndDelete(p.IP, p.port)
	var errs []error
	link, err := netlink.LinkByName(p.port)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil && !notFound(err) {
		errs = append(errs, fmt.Errorf("remove %s: %w", p.port, err))
	}
	if err := p.netns.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close network namespace: %w", err))
	}
	p.network.ips.release(p.IP)
	return errors.Join(errs...)
}

// DialLoopback connects to a TCP port on the pod's own loopback address, as `kubectl port-forward`
// expects.
func (p *Pod) DialLoopback(ctx context.Context, port uint16) (net.Conn, error) {
	fd := -1
	err := p.network.thread.Do(func() error {
		if err := unix.Setns(int(p.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		var err error
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket in pod %s: %w", p.IP, err)
	}
	file := os.NewFile(uintptr(fd), "pod-socket")
	defer file.Close()
	timeout := localDialTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline))
	}
	tv := unix.NsecToTimeval(timeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv); err != nil {
		return nil, fmt.Errorf("set connect timeout: %w", err)
	}
	if err := connectRetry(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("connect to 127.0.0.1:%d in pod %s: %w", port, p.IP, err)
	}
	return net.FileConn(file)
}

// connectRetry connects a blocking socket, going on after the signals that the Go runtime sends
// to its own threads.
func connectRetry(fd int, to unix.Sockaddr) error {
	for {
		err := unix.Connect(fd, to)
		switch {
		case errors.Is(err, unix.EISCONN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EALREADY):
			continue
		}
		return err
	}
}

// newNamespace makes a network namespace that only the returned file holds.
func (n *Network) newNamespace() (*os.File, error) {
	var file *os.File
	err := n.thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		var err error
		file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	return file, nil
}

// connect makes the veth pair and configures the pod's end of it.
func (p *Pod) connect() error {
	bridge, err := netlink.LinkByName(p.network.name)
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = p.port, bridge.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(p.netns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("create veth: %w", err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		return fmt.Errorf("set %s up: %w", p.port, err)
	}
	inside, err := netlink.NewHandleAt(netns.NsHandle(p.netns.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink in pod: %w", err)
	}
	defer inside.Close()
	return p.configure(inside)
}

func (p *Pod) configure(inside *netlink.Handle) error {
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	eth0, err := inside.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	if err := inside.AddrAdd(eth0, address(p.IP, prefixBits)); err != nil {
		return fmt.Errorf("add address %s: %w", p.IP, err)
	}
	if err := inside.LinkSetUp(eth0); err != nil {
		return fmt.Errorf("set eth0 up: %w", err)
	}
	route := &netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: p.network.gateway.AsSlice()}
	if err := inside.RouteAdd(route); err != nil {
		return fmt.Errorf("add default route: %w", err)
	}
	return nil
}
