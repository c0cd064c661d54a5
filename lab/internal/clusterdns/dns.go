// Package clusterdns answers DNS queries for the Services of a lab cluster, as CoreDNS does in a
// real one: addresses of Services and of headless Services' pods, host names of StatefulSets' pods,
// and SRV records of named ports. Every other name doesn't exist: the lab has no Internet.
package clusterdns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// ttl is how many seconds answers may be kept.
const ttl = 5

// domain is the zone of the cluster.
const domain = "cluster.local."

// byService is the index of EndpointSlices by the Service that they belong to.
const byService = "service"

// Run serves the cluster's names on UDP and TCP at listen until ctx ends. It adds the address to
// lo of the current network namespace.
func Run(ctx context.Context, cfg *rest.Config, listen netip.AddrPort, log *slog.Logger) error {
	config := rest.CopyConfig(cfg)
	config.QPS, config.Burst = -1, 0
	config.UserAgent = "meshlift-lab-dns"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cluster DNS: client: %w", err)
	}
	if err := addAddress(listen.Addr()); err != nil {
		return fmt.Errorf("cluster DNS: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(stripManagedFields))
	slices := factory.Discovery().V1().EndpointSlices().Informer()
	if err := slices.AddIndexers(cache.Indexers{byService: sliceIndex}); err != nil {
		return fmt.Errorf("cluster DNS: %w", err)
	}
	zone := &zone{services: factory.Core().V1().Services().Lister(), slices: slices.GetIndexer()}
	factory.StartWithContext(ctx)
	defer factory.Shutdown()
	defer cancel()
	factory.WaitForCacheSyncWithContext(ctx)
	return serve(ctx, listen, &handler{zone: zone, log: log})
}

func sliceIndex(o any) ([]string, error) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok || s.Labels[discoveryv1.LabelServiceName] == "" {
		return nil, nil
	}
	return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
}

func addAddress(ip netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}}
	if err := netlink.AddrReplace(lo, address); err != nil {
		return fmt.Errorf("add %s to lo: %w", ip, err)
	}
	return nil
}

func serve(ctx context.Context, at netip.AddrPort, h dns.Handler) error {
	packets, err := net.ListenPacket("udp", at.String())
	if err != nil {
		return fmt.Errorf("cluster DNS: %w", err)
	}
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		packets.Close()
		return fmt.Errorf("cluster DNS: %w", err)
	}
	servers := []*dns.Server{{PacketConn: packets, Handler: h}, {Listener: listener, Handler: h}}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.ActivateAndServe() }()
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	packets.Close()
	listener.Close()
	if err != nil {
		return fmt.Errorf("cluster DNS: %w", err)
	}
	return nil
}

// handler answers queries from a zone.
type handler struct {
	zone *zone
	log  *slog.Logger
}

// ServeDNS implements dns.Handler.
func (h *handler) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg)
	answer.SetReply(query)
	answer.Authoritative = true
	answer.RecursionAvailable = true
	if len(query.Question) != 1 || query.Opcode != dns.OpcodeQuery {
		answer.Rcode = dns.RcodeNotImplemented
	} else {
		q := query.Question[0]
		records, extra, exists := h.zone.lookup(q.Name, q.Qtype)
		answer.Answer, answer.Extra = records, extra
		if !exists {
			answer.Rcode = dns.RcodeNameError
		}
		if len(records) == 0 {
			answer.Ns = []dns.RR{soa()}
		}
	}
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if o := query.IsEdns0(); o != nil {
			size = max(size, int(o.UDPSize()))
			answer.SetEdns0(o.UDPSize(), false)
		}
		answer.Truncate(size)
	}
	if err := w.WriteMsg(answer); err != nil {
		h.log.Debug("cannot answer a DNS query", "error", err)
	}
}

// soa makes resolvers keep negative answers no longer than positive ones.
func soa() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  "ns.dns." + domain, Mbox: "hostmaster." + domain, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

// stripManagedFields saves memory: nobody here asks who wrote a field.
func stripManagedFields(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}
