package box

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/controlplane"
)

// isolate makes the new namespaces usable: loopback up, packets forwarded, mounts private, names resolved by the
// cluster DNS. It also makes the supervisor the parent of every process that loses its own.
func isolate(run string, dns netip.Addr) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become the reaper of orphans: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets: %w", err)
	}
	return resolve(run, dns)
}

// resolve makes /etc/resolv.conf name the DNS of the first cluster, in the lab's mount namespace only.
func resolve(run string, dns netip.Addr) error {
	const path = "/etc/resolv.conf"
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing to hide; Go programs then ask localhost
	}
	if err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	own := filepath.Join(run, "resolv.conf")
	const domain = controlplane.Domain
	content := fmt.Sprintf("nameserver %s\nsearch default.svc.%s svc.%s %s\noptions ndots:5\n", dns, domain, domain, domain)
	if err := os.WriteFile(own, []byte(content), 0o644); err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	if err := unix.Mount(own, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("resolver: %w", err)
	}
	return nil
}

// reap kills and awaits the processes that are still children of this one, until there are none.
func reap() {
	for {
		for _, pid := range children() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return // no children any more
		}
	}
}

// children returns the PIDs of the children of this process.
func children() []int {
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range tasks {
		b, err := os.ReadFile(t)
		if err != nil {
			continue // a thread that has just ended
		}
		for field := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
