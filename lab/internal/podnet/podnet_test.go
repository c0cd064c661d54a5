package podnet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/nstest"
)

func TestMain(m *testing.M) { os.Exit(nstest.Main(m)) }

func TestAllocator(t *testing.T) {
	a := newAllocator(netip.MustParseAddr("10.128.1.253"), netip.MustParseAddr("10.128.2.2"))
	var got []string
	for {
		ip, err := a.take()
		if errors.Is(err, errNoAddress) {
			break
		}
		got = append(got, ip.String())
	}
	if fmt.Sprint(got) != "[10.128.1.253 10.128.1.254 10.128.2.1 10.128.2.2]" {
		t.Error(got)
	}
	a.release(netip.MustParseAddr("10.128.2.1"))
	if ip, err := a.take(); err != nil || ip.String() != "10.128.2.1" {
		t.Error(ip, err)
	}
}

// listen serves "hello" in the pod.
func listen(t *testing.T, p *Pod, address string) {
	t.Helper()
	var l net.Listener
	err := p.network.thread.Do(func() error {
		if err := unix.Setns(int(p.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
}

func read(c net.Conn, err error) string {
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestPods(t *testing.T) {
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	for range 2 { // a second New finds the bridge and removes what is left on it
		n, err := New(3)
		if err != nil {
			t.Fatal(err)
		}
		if n.Gateway().String() != "10.131.0.1" {
			t.Fatal(n.Gateway())
		}
		a, err := n.AddPod()
		if err != nil {
			t.Fatal(err)
		}
		listen(t, a, "127.0.0.1:80")
		listen(t, a, a.IP.String()+":81")
		if got := read(a.DialLoopback(t.Context(), 80)); got != "hello" {
			t.Error("loopback:", got)
		}
		if _, err := a.DialLoopback(t.Context(), 99); !errors.Is(err, unix.ECONNREFUSED) {
			t.Error("closed port:", err)
		}
		if got := read(net.DialTimeout("tcp", a.IP.String()+":81", 5*time.Second)); got != "hello" {
			t.Error("from the root namespace:", got)
		}
	}
}

func TestAPodThatIsCutOffCannotBeReachedUntilItIsMended(t *testing.T) {
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	n, err := New(5)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.AddPod()
	if err != nil {
		t.Fatal(err)
	}
	listen(t, p, p.IP.String()+":81")
	mend, err := n.Cut(p.IP)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(net.DialTimeout("tcp", p.IP.String()+":81", 200*time.Millisecond)); got == "hello" {
		t.Error("a pod that is cut off answers")
	}
	if err := mend(); err != nil {
		t.Error(err)
	}
	if got := read(net.DialTimeout("tcp", p.IP.String()+":81", 5*time.Second)); got != "hello" {
		t.Error("after it was mended:", got)
	}
	mend, err = n.Cut(p.IP)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Close(), mend()); err != nil {
		t.Error("a pod that ends while it is cut off:", err)
	}
	if _, err := n.Cut(p.IP); err == nil {
		t.Error("a pod that has gone can be cut off")
	}
}

func TestClose(t *testing.T) {
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	n, err := New(4)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.AddPod()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.AddPod(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if len(l.Attrs().Name) > 3 && l.Attrs().Name[:4] == "lab4" {
			t.Error("left over:", l.Attrs().Name)
		}
	}
}
