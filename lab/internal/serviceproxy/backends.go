package serviceproxy

import (
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// clusterIPs are the addresses of a Service; a headless one has none.
func clusterIPs(s *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, text := range s.Spec.ClusterIPs {
		if ip, err := netip.ParseAddr(text); err == nil { // "None" isn't an address
			all = append(all, ip)
		}
	}
	return all
}

// backends maps each address and TCP port of a Service to the endpoints that get its connections.
func backends(s *corev1.Service, slices []*discoveryv1.EndpointSlice, ips []netip.Addr) map[netip.AddrPort][]netip.AddrPort {
	all := map[netip.AddrPort][]netip.AddrPort{}
	for _, port := range s.Spec.Ports {
		if port.Protocol != corev1.ProtocolTCP && port.Protocol != "" {
			continue
		}
		endpoints := portEndpoints(port.Name, slices)
		for _, ip := range ips {
			all[netip.AddrPortFrom(ip, uint16(port.Port))] = endpoints
		}
	}
	return all
}

// portEndpoints are the ready endpoints of a port; when there is none, those that still serve
// although their pods are about to end, as kube-proxy has it.
func portEndpoints(name string, slices []*discoveryv1.EndpointSlice) []netip.AddrPort {
	ready, ending := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	for _, slice := range slices {
		for _, port := range slice.Ports {
			if port.Port == nil || (port.Name == nil && name != "") || (port.Name != nil && *port.Name != name) {
				continue
			}
			for _, e := range slice.Endpoints {
				for _, text := range e.Addresses {
					ip, err := netip.ParseAddr(text)
					if err != nil || simulatedPods.Contains(ip) {
						continue
					}
					at := netip.AddrPortFrom(ip, uint16(*port.Port))
					switch c := e.Conditions; {
					case c.Ready == nil || *c.Ready:
						ready[at] = true
					case c.Serving != nil && *c.Serving && c.Terminating != nil && *c.Terminating:
						ending[at] = true
					}
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = ending
	}
	list := make([]netip.AddrPort, 0, len(ready))
	for at := range ready {
		list = append(list, at)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Compare(list[j]) < 0 })
	return list
}
