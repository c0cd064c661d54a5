// Package serviceproxy makes the ClusterIPs of Services work without iptables.
//
// It is a user-space kube-proxy: it adds every ClusterIP to the loopback interface of the network
// namespace in which it runs, the lab's root namespace through which the pods are routed, and
// forwards TCP connections to the ready endpoints in turn. A port without ready endpoints refuses
// connections, as behind a real kube-proxy.
package serviceproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// retry is the pause before a Service that failed is tried again.
const retry = time.Second

// simulatedPods are the addresses of pods behind which there is no process.
var simulatedPods = netip.MustParsePrefix("10.160.0.0/11")

// proxy keeps the listeners of one cluster.
type proxy struct {
	log      *slog.Logger
	lo       netlink.Link
	services corelisters.ServiceLister
	index    cache.Indexer // EndpointSlices by Service
	queue    workqueue.TypedRateLimitingInterface[string]

	mu     sync.Mutex
	byName map[string]*service   // "namespace/name"
	owners map[netip.Addr]string // owner of each address on lo
}

// service is what is open for one Service.
type service struct {
	addresses []netip.Addr
	frontends map[netip.AddrPort]*frontend
}

// byService is the index of EndpointSlices by the Service that they belong to.
const byService = "service"

// Run proxies the Services of a cluster until ctx ends; then it closes every connection and removes
// the addresses.
func Run(ctx context.Context, cfg *rest.Config, log *slog.Logger) error {
	config := rest.CopyConfig(cfg)
	config.QPS, config.Burst = -1, 0
	config.UserAgent = "meshlift-lab-serviceproxy"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("service proxy: client: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("service proxy: find lo: %w", err)
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(stripManagedFields))
	p := &proxy{
		log: log, lo: lo,
		services: factory.Core().V1().Services().Lister(),
		index:    factory.Discovery().V1().EndpointSlices().Informer().GetIndexer(),
		queue:    workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemFastSlowRateLimiter[string](retry, retry, 1)),
		byName:   map[string]*service{},
		owners:   map[netip.Addr]string{},
	}
	if err := p.watch(factory); err != nil {
		return fmt.Errorf("service proxy: %w", err)
	}
	factory.StartWithContext(ctx)
	factory.WaitForCacheSyncWithContext(ctx)
	stop := context.AfterFunc(ctx, p.queue.ShutDown)
	defer stop()
	p.work(ctx)
	p.closeAll()
	factory.Shutdown()
	return nil
}

func (p *proxy) watch(factory informers.SharedInformerFactory) error {
	err := factory.Discovery().V1().EndpointSlices().Informer().AddIndexers(cache.Indexers{byService: func(o any) ([]string, error) {
		s, ok := o.(*discoveryv1.EndpointSlice)
		if !ok || s.Labels[discoveryv1.LabelServiceName] == "" {
			return nil, nil
		}
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
	}})
	if err != nil {
		return err
	}
	handle := func(o any) {
		if t, ok := o.(cache.DeletedFinalStateUnknown); ok {
			o = t.Obj
		}
		switch o := o.(type) {
		case *corev1.Service:
			p.queue.Add(o.Namespace + "/" + o.Name)
		case *discoveryv1.EndpointSlice:
			p.queue.Add(o.Namespace + "/" + o.Labels[discoveryv1.LabelServiceName])
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: handle, UpdateFunc: func(_, o any) { handle(o) }, DeleteFunc: handle}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return nil
}

func (p *proxy) work(ctx context.Context) {
	for {
		key, shutdown := p.queue.Get()
		if shutdown {
			return
		}
		if err := p.sync(ctx, key); err != nil {
			p.log.Warn("cannot serve a Service", "service", key, "error", err)
			p.queue.AddRateLimited(key)
		} else {
			p.queue.Forget(key)
		}
		p.queue.Done(key)
	}
}

// sync makes what is open for a Service what it should be.
func (p *proxy) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	object, err := p.services.Services(namespace).Get(name)
	if err != nil { // the lister's only error is that there is none
		return p.remove(key)
	}
	slices, err := p.endpointSlices(key)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.byName[key]
	if s == nil {
		s = &service{frontends: map[netip.AddrPort]*frontend{}}
		p.byName[key] = s
	}
	want := clusterIPs(object)
	if err := p.syncAddresses(key, s, want); err != nil {
		return err
	}
	return p.syncFrontends(ctx, s, backends(object, slices, want))
}

func (p *proxy) endpointSlices(key string) ([]*discoveryv1.EndpointSlice, error) {
	objects, err := p.index.ByIndex(byService, key)
	if err != nil {
		return nil, err
	}
	var slices []*discoveryv1.EndpointSlice
	for _, o := range objects {
		if s, ok := o.(*discoveryv1.EndpointSlice); ok {
			slices = append(slices, s)
		}
	}
	return slices, nil
}

func (p *proxy) syncAddresses(key string, s *service, want []netip.Addr) error {
	wanted := map[netip.Addr]bool{}
	for _, ip := range want {
		wanted[ip] = true
		if p.owners[ip] == key {
			continue
		}
		if err := netlink.AddrReplace(p.lo, hostAddress(ip)); err != nil {
			return fmt.Errorf("add %s to lo: %w", ip, err)
		}
		p.owners[ip] = key
	}
	for _, ip := range s.addresses {
		if wanted[ip] || p.owners[ip] != key {
			continue
		}
		p.closeFrontends(s, func(at netip.AddrPort) bool { return at.Addr() == ip })
		if err := netlink.AddrDel(p.lo, hostAddress(ip)); err != nil {
			return fmt.Errorf("remove %s from lo: %w", ip, err)
		}
		delete(p.owners, ip)
	}
	s.addresses = want
	return nil
}

func (p *proxy) syncFrontends(ctx context.Context, s *service, want map[netip.AddrPort][]netip.AddrPort) error {
	p.closeFrontends(s, func(at netip.AddrPort) bool { return len(want[at]) == 0 })
	var errs []error
	for at, endpoints := range want {
		if len(endpoints) == 0 {
			continue
		}
		if f := s.frontends[at]; f != nil {
			f.set(endpoints)
			continue
		}
		f, err := listen(ctx, at, endpoints, p.log)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.frontends[at] = f
	}
	return errors.Join(errs...)
}

func (p *proxy) closeFrontends(s *service, which func(netip.AddrPort) bool) {
	for at, f := range s.frontends {
		if which(at) {
			f.close()
			delete(s.frontends, at)
		}
	}
}

func (p *proxy) remove(key string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.byName[key]
	if s == nil {
		return nil
	}
	if err := p.syncAddresses(key, s, nil); err != nil {
		return err
	}
	delete(p.byName, key)
	return nil
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	keys := make([]string, 0, len(p.byName))
	for key := range p.byName {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	for _, key := range keys {
		if err := p.remove(key); err != nil {
			p.log.Warn("cannot remove a Service's address", "service", key, "error", err)
		}
	}
}

func hostAddress(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}}
}

// stripManagedFields saves memory: nobody here asks who wrote a field.
func stripManagedFields(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}
