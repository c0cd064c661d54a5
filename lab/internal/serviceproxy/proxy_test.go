package serviceproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func slice(port string, number int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}, Endpoints: endpoints}
}

func at(ip string, ready, serving, terminating bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}}
}

func TestPortEndpoints(t *testing.T) {
	for name, test := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   string
	}{
		"nothing":           {nil, "[]"},
		"ready ones, once":  {[]*discoveryv1.EndpointSlice{slice("http", 80, at("10.128.1.2", true, true, false), at("10.128.1.1", true, true, false)), slice("http", 80, at("10.128.1.1", true, true, false))}, "[10.128.1.1:80 10.128.1.2:80]"},
		"other port":        {[]*discoveryv1.EndpointSlice{slice("grpc", 81, at("10.128.1.2", true, true, false))}, "[]"},
		"simulated":         {[]*discoveryv1.EndpointSlice{slice("http", 80, at("10.160.1.2", true, true, false), at("10.191.1.2", true, true, false))}, "[]"},
		"not ready":         {[]*discoveryv1.EndpointSlice{slice("http", 80, at("10.128.1.2", false, false, false))}, "[]"},
		"only ending ones":  {[]*discoveryv1.EndpointSlice{slice("http", 80, at("10.128.1.2", false, true, true), at("10.128.1.3", false, false, true))}, "[10.128.1.2:80]"},
		"ready before ends": {[]*discoveryv1.EndpointSlice{slice("http", 80, at("10.128.1.2", false, true, true), at("10.128.1.3", true, true, false))}, "[10.128.1.3:80]"},
	} {
		if got := fmt.Sprint(portEndpoints("http", test.slices)); got != test.want {
			t.Errorf("%s: %s, not %s", name, got, test.want)
		}
	}
}

func TestBackends(t *testing.T) {
	s := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.9"}, Ports: []corev1.ServicePort{
		{Name: "http", Port: 8080}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
	}}}
	got := backends(s, []*discoveryv1.EndpointSlice{slice("http", 80, at("10.128.1.2", true, true, false))}, clusterIPs(s))
	if fmt.Sprint(got) != "map[10.96.0.9:8080:[10.128.1.2:80]]" {
		t.Error(got)
	}
	s.Spec.ClusterIPs = []string{"None"}
	if ips := clusterIPs(s); ips != nil {
		t.Error(ips)
	}
}

// server answers every connection with its name, after it has read all that the client sends.
func server(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				fmt.Fprintf(c, "%s got %s", name, all)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func ask(t *testing.T, address, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	fmt.Fprint(c, text)
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err.Error()
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		return err.Error()
	}
	return string(answer)
}

func TestFrontend(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, b := server(t, "a"), server(t, "b")
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := netip.MustParseAddrPort(dead.Addr().String())
	dead.Close()
	f, err := listen(ctx, netip.MustParseAddrPort("127.0.0.1:0"), []netip.AddrPort{a, gone, b}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	address := f.listener.Addr().String()
	count := map[string]int{}
	for range 6 {
		count[ask(t, address, "x")]++
	}
	if len(count) != 2 || count["a got x"]+count["b got x"] != 6 || count["a got x"] < 2 {
		t.Errorf("not in turn, or a dead endpoint is not passed over: %v", count)
	}
	f.set([]netip.AddrPort{b})
	if got := ask(t, address, "half-closed"); got != "b got half-closed" {
		t.Error(got)
	}
	f.set([]netip.AddrPort{gone})
	if got := ask(t, address, ""); got == "" {
		t.Error("a connection without endpoint ended regularly")
	}
	f.set([]netip.AddrPort{a})
	open, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	fmt.Fprint(open, "still ")
	f.close()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("a closed port accepts connections")
	}
	fmt.Fprint(open, "here")
	if err := open.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(open); err != nil || string(answer) != "a got still here" {
		t.Errorf("an open connection doesn't outlive its port: %q, %v", answer, err)
	}
}
