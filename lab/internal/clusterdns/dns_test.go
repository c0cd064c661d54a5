package clusterdns

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

func testZone(t *testing.T) *zone {
	t.Helper()
	services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc, byService: sliceIndex})
	service := func(name string, spec corev1.ServiceSpec) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: spec}
		if err := services.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	service("web", corev1.ServiceSpec{ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}})
	service("db", corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}})
	service("out", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"})
	port, number, tcp, host := "sql", int32(5432), corev1.ProtocolTCP, "db-0"
	yes, no := true, false
	if err := slices.Add(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "db-1", Labels: map[string]string{discoveryv1.LabelServiceName: "db"}},
		Ports:      []discoveryv1.EndpointPort{{Name: &port, Port: &number, Protocol: &tcp}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.128.1.1"}, Hostname: &host, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.128.1.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.128.1.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}},
		},
	}); err != nil {
		t.Fatal(err)
	}
	return &zone{services: corelisters.NewServiceLister(services), slices: slices}
}

// short writes records as "TYPE value".
func short(records []dns.RR) string {
	var all []string
	for _, r := range records {
		f := strings.Fields(r.String())
		all = append(all, strings.Join(f[3:], " "))
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

func TestLookup(t *testing.T) {
	z := testZone(t)
	const nothing = "doesn't exist"
	for _, test := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web.ns.svc.cluster.local.", dns.TypeA, "A 10.96.0.9"},
		{"WEB.ns.SVC.cluster.local.", dns.TypeA, "A 10.96.0.9"},
		{"web.ns.svc.cluster.local.", dns.TypeAAAA, ""},
		{"web.ns.svc.cluster.local.", dns.TypeSRV, ""},
		{"_http._tcp.web.ns.svc.cluster.local.", dns.TypeSRV, "SRV 0 100 80 web.ns.svc.cluster.local."},
		{"_http._udp.web.ns.svc.cluster.local.", dns.TypeSRV, nothing},
		{"_http._tcp.web.ns.svc.cluster.local.", dns.TypeA, ""},
		{"db.ns.svc.cluster.local.", dns.TypeA, "A 10.128.1.1, A 10.128.1.2"},
		{"db-0.db.ns.svc.cluster.local.", dns.TypeA, "A 10.128.1.1"},
		{"10-128-1-2.db.ns.svc.cluster.local.", dns.TypeA, "A 10.128.1.2"},
		{"10-128-1-3.db.ns.svc.cluster.local.", dns.TypeA, nothing},
		{"db-0.web.ns.svc.cluster.local.", dns.TypeA, nothing},
		{"_sql._tcp.db.ns.svc.cluster.local.", dns.TypeSRV, "SRV 0 100 5432 10-128-1-2.db.ns.svc.cluster.local., SRV 0 100 5432 db-0.db.ns.svc.cluster.local."},
		{"out.ns.svc.cluster.local.", dns.TypeA, "CNAME example.com."},
		{"ns.svc.cluster.local.", dns.TypeA, ""},
		{"other.svc.cluster.local.", dns.TypeA, nothing},
		{"web.other.svc.cluster.local.", dns.TypeA, nothing},
		{"a.b.web.ns.svc.cluster.local.", dns.TypeA, nothing},
		{"svc.cluster.local.", dns.TypeA, nothing},
		{"example.com.", dns.TypeA, nothing},
		{".", dns.TypeA, nothing},
	} {
		records, _, exists := z.lookup(test.name, test.kind)
		got := short(records)
		if !exists {
			got = nothing
		}
		if got != test.want {
			t.Errorf("%s %s: %q, not %q", dns.TypeToString[test.kind], test.name, got, test.want)
		}
	}
	_, extra, _ := z.lookup("_sql._tcp.db.ns.svc.cluster.local.", dns.TypeSRV)
	if got := short(extra); got != "A 10.128.1.1, A 10.128.1.2" {
		t.Errorf("addresses of SRV targets: %s", fmt.Sprint(extra))
	}
}
