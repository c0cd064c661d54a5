package clusterdns

import (
	"net"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// zone is the names of a cluster.
type zone struct {
	services corelisters.ServiceLister
	slices   cache.Indexer
}

// endpoint is one ready address behind a Service.
type endpoint struct {
	ip       net.IP
	hostname string
	ports    map[string]uint16 // by "port/protocol"
}

// lookup returns the records of a name, the addresses that SRV records refer to, and whether the
// name exists at all.
func (z *zone) lookup(name string, kind uint16) (records, extra []dns.RR, exists bool) {
	labels, ok := serviceLabels(name)
	if !ok {
		return nil, nil, false
	}
	// From the right: namespace, service, then a host name or _port._protocol.
	if len(labels) == 1 {
		return nil, nil, z.namespaceExists(labels[0])
	}
	namespace, service := labels[len(labels)-1], labels[len(labels)-2]
	object, err := z.services.Services(namespace).Get(service)
	if err != nil { // the lister's only error is that there is none
		return nil, nil, false
	}
	rest := labels[:len(labels)-2]
	switch {
	case object.Spec.Type == corev1.ServiceTypeExternalName && len(rest) == 0:
		return []dns.RR{&dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: dns.Fqdn(object.Spec.ExternalName)}}, nil, true
	case len(rest) == 0:
		return addresses(name, kind, z.serviceIPs(object)), nil, true
	case len(rest) == 1:
		ips := z.hostIPs(object, rest[0])
		return addresses(name, kind, ips), nil, len(ips) > 0
	case len(rest) == 2 && strings.HasPrefix(rest[0], "_") && strings.HasPrefix(rest[1], "_"):
		records, extra = z.ports(name, object, rest[0][1:], rest[1][1:])
		if exists = len(records) > 0; kind != dns.TypeSRV && kind != dns.TypeANY {
			records, extra = nil, nil
		}
		return records, extra, exists
	}
	return nil, nil, false
}

// serviceLabels are the parts of a name left of "svc.cluster.local".
func serviceLabels(name string) ([]string, bool) {
	rest, ok := strings.CutSuffix(strings.ToLower(dns.Fqdn(name)), ".svc."+domain)
	if !ok || rest == "" {
		return nil, false
	}
	return strings.Split(rest, "."), true
}

func (z *zone) namespaceExists(namespace string) bool {
	list, err := z.slices.ByIndex(cache.NamespaceIndex, namespace)
	return err == nil && len(list) > 0
}

// serviceIPs are the ClusterIP, or the ready pods of a headless Service.
func (z *zone) serviceIPs(s *corev1.Service) []net.IP {
	if !headless(s) {
		return parseIPs(s.Spec.ClusterIPs)
	}
	var all []net.IP
	for _, e := range z.endpoints(s) {
		all = append(all, e.ip)
	}
	return all
}

func (z *zone) hostIPs(s *corev1.Service, host string) []net.IP {
	var all []net.IP
	if !headless(s) {
		return nil
	}
	for _, e := range z.endpoints(s) {
		if e.hostname == host || e.dashed() == host {
			all = append(all, e.ip)
		}
	}
	return all
}

// ports are the SRV records of a named port.
func (z *zone) ports(name string, s *corev1.Service, port, protocol string) (records, extra []dns.RR) {
	base := s.Name + "." + s.Namespace + ".svc." + domain
	if !headless(s) {
		for _, p := range s.Spec.Ports {
			if strings.EqualFold(p.Name, port) && strings.EqualFold(string(p.Protocol), protocol) {
				records = append(records, &dns.SRV{Hdr: header(name, dns.TypeSRV), Weight: 100, Port: uint16(p.Port), Target: base})
				extra = append(extra, addresses(base, dns.TypeA, parseIPs(s.Spec.ClusterIPs))...)
			}
		}
		return records, extra
	}
	for _, e := range z.endpoints(s) {
		number, ok := e.ports[port+"/"+strings.ToLower(protocol)]
		if !ok {
			continue
		}
		host := e.hostname
		if host == "" {
			host = e.dashed()
		}
		records = append(records, &dns.SRV{Hdr: header(name, dns.TypeSRV), Weight: 100, Port: number, Target: host + "." + base})
		extra = append(extra, addresses(host+"."+base, dns.TypeA, []net.IP{e.ip})...)
	}
	return records, extra
}

// endpoints are the ready endpoints of a Service, each address once.
func (z *zone) endpoints(s *corev1.Service) []endpoint {
	objects, err := z.slices.ByIndex(byService, s.Namespace+"/"+s.Name)
	if err != nil {
		return nil
	}
	var all []endpoint
	seen := map[string]bool{}
	for _, o := range objects {
		slice, ok := o.(*discoveryv1.EndpointSlice)
		if !ok {
			continue
		}
		ports := map[string]uint16{}
		for _, p := range slice.Ports {
			if p.Name != nil && p.Port != nil && p.Protocol != nil {
				ports[*p.Name+"/"+strings.ToLower(string(*p.Protocol))] = uint16(*p.Port)
			}
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, ip := range parseIPs(e.Addresses) {
				if seen[ip.String()] {
					continue
				}
				seen[ip.String()] = true
				one := endpoint{ip: ip, ports: ports}
				if e.Hostname != nil {
					one.hostname = *e.Hostname
				}
				all = append(all, one)
			}
		}
	}
	return all
}

// dashed is the host name of an endpoint that has none: its address with dashes.
func (e endpoint) dashed() string {
	return strings.NewReplacer(".", "-", ":", "-").Replace(e.ip.String())
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }

func parseIPs(texts []string) []net.IP {
	var all []net.IP
	for _, text := range texts {
		if ip := net.ParseIP(text); ip != nil {
			all = append(all, ip)
		}
	}
	return all
}

func addresses(name string, kind uint16, ips []net.IP) []dns.RR {
	var all []dns.RR
	for _, ip := range ips {
		v4 := ip.To4()
		switch {
		case v4 != nil && (kind == dns.TypeA || kind == dns.TypeANY):
			all = append(all, &dns.A{Hdr: header(name, dns.TypeA), A: v4})
		case v4 == nil && (kind == dns.TypeAAAA || kind == dns.TypeANY):
			all = append(all, &dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: ip})
		}
	}
	return all
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}
