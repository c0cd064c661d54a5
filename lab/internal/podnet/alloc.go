package podnet

import (
	"errors"
	"net/netip"
	"sync"
)

// errNoAddress says that every pod address of the cluster is taken.
var errNoAddress = errors.New("no free pod address")

// allocator hands out addresses of a range in turn, so that a released address rests as long as
// possible before another pod gets it.
type allocator struct {
	mu          sync.Mutex
	first, last netip.Addr
	next        netip.Addr
	used        map[netip.Addr]bool
}

func newAllocator(first, last netip.Addr) *allocator {
	return &allocator{first: first, last: last, next: first, used: map[netip.Addr]bool{}}
}

func (a *allocator) take() (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for start, wrapped := a.next, false; ; {
		ip := a.next
		a.next = ip.Next()
		if a.last.Less(a.next) {
			a.next = a.first
		}
		if b := ip.As4(); b[3] != 0 && b[3] != 255 && !a.used[ip] {
			a.used[ip] = true
			return ip, nil
		}
		if a.next == start {
			if wrapped {
				return netip.Addr{}, errNoAddress
			}
			wrapped = true
		}
	}
}

func (a *allocator) release(ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, ip)
}
