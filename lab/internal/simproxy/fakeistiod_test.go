package simproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

const istiodHost = "istiod-1-31.istio-system.svc"

// issue makes a self-signed certificate for istiod.
func issue(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "istiod"}, DNSNames: []string{istiodHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(root)
}

// fakeIstiod is an ADS server that records what its clients do.
type fakeIstiod struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	resources map[string][]proto.Message
	t         testing.TB

	mu      sync.Mutex
	tokens  map[string]bool    // accepted tokens
	live    map[string]*record // streams by node id
	opened  int
	server  *grpc.Server
	address string
}

// record is what one stream has asked for and answered.
type record struct {
	names  map[string][]string // by type
	acked  map[string]string   // version by type
	nacked map[string]string   // message by type
	header metadata.MD
	push   chan string // type to push
}

func newFakeIstiod(t testing.TB, resources map[string][]proto.Message) *fakeIstiod {
	return &fakeIstiod{t: t, resources: resources, tokens: map[string]bool{}, live: map[string]*record{}}
}

// start listens on a loopback port (the same one after a stop).
func (f *fakeIstiod) start(cert tls.Certificate) {
	f.t.Helper()
	if f.address == "" {
		f.address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", f.address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.address = l.Addr().String()
	f.server = grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	discovery.RegisterAggregatedDiscoveryServiceServer(f.server, f)
	go func() { _ = f.server.Serve(l) }()
}

func (f *fakeIstiod) stop() { f.server.Stop() }

func (f *fakeIstiod) StreamAggregatedResources(s discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	header, _ := metadata.FromIncomingContext(s.Context())
	f.mu.Lock()
	ok := f.tokens == nil || f.tokens[strings.TrimPrefix(strings.Join(header.Get("authorization"), ""), "Bearer ")]
	f.opened++
	f.mu.Unlock()
	if !ok {
		return status.Error(codes.Unauthenticated, "unknown token")
	}
	first, err := s.Recv()
	if err != nil {
		return err
	}
	rec := &record{names: map[string][]string{}, acked: map[string]string{}, nacked: map[string]string{}, header: header, push: make(chan string, 8)}
	id := first.GetNode().GetId()
	f.mu.Lock()
	f.live[id] = rec
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.live[id] == rec {
			delete(f.live, id)
		}
	}()
	requests := make(chan *discovery.DiscoveryRequest)
	go func() {
		defer close(requests)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- r:
			case <-s.Context().Done():
				return
			}
		}
	}()
	return f.serve(s, rec, first, requests)
}

// serve answers as istiod does: a request that is not an acknowledgement, or that changes the names, gets an answer.
func (f *fakeIstiod) serve(s discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer, rec *record,
	first *discovery.DiscoveryRequest, requests <-chan *discovery.DiscoveryRequest,
) error {
	nonce := 0
	send := func(kind string) error {
		nonce++
		return s.Send(&discovery.DiscoveryResponse{
			TypeUrl: kind, VersionInfo: "v" + strconv.Itoa(nonce), Nonce: strconv.Itoa(nonce),
			Resources: packed(f.t, f.resources[kind]...),
		})
	}
	handle := func(r *discovery.DiscoveryRequest) error {
		kind := r.GetTypeUrl()
		f.mu.Lock()
		if r.GetErrorDetail() != nil {
			rec.nacked[kind] = r.GetErrorDetail().GetMessage()
			f.mu.Unlock()
			return nil
		}
		_, known := rec.names[kind]
		changed := !known || !reflect.DeepEqual(rec.names[kind], r.GetResourceNames())
		rec.names[kind] = r.GetResourceNames()
		if r.GetResponseNonce() != "" {
			rec.acked[kind] = r.GetVersionInfo()
		}
		f.mu.Unlock()
		if changed {
			return send(kind)
		}
		return nil
	}
	if err := handle(first); err != nil {
		return err
	}
	for {
		select {
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			if err := handle(r); err != nil {
				return err
			}
		case kind := <-rec.push:
			if err := send(kind); err != nil {
				return err
			}
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// testCluster is a fake API server with the objects that a proxy looks up.
type testCluster struct {
	*fake.Clientset
	istiod *fakeIstiod

	mu     sync.Mutex
	issued int
}

func newTestCluster(t testing.TB, istiod *fakeIstiod, root string) *testCluster {
	t.Helper()
	host, _, err := net.SplitHostPort(istiod.address)
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{istiod: istiod, Clientset: fake.NewClientset(
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "istiod-1-31", Namespace: "istio-system"},
			Spec:       corev1.ServiceSpec{ClusterIP: host},
		},
		rootConfig(root),
	)}
	c.PrependReactor("create", "serviceaccounts", func(a ktesting.Action) (bool, runtime.Object, error) {
		create, ok := a.(ktesting.CreateActionImpl)
		if !ok || a.GetSubresource() != "token" {
			return false, nil, nil
		}
		tr, ok := create.Object.(*authenticationv1.TokenRequest)
		if !ok || tr.Spec.BoundObjectRef == nil || tr.Spec.Audiences[0] != tokenAudience {
			return true, nil, errors.New("not a pod-bound token request")
		}
		c.mu.Lock()
		c.issued++
		value := create.Name + "-" + strconv.Itoa(c.issued)
		c.mu.Unlock()
		istiod.mu.Lock()
		istiod.tokens[value] = true
		istiod.mu.Unlock()
		return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: value, ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
		}}, nil
	})
	return c
}

func rootConfig(root string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: rootConfigMap, Namespace: "bookinfo"}, Data: map[string]string{rootKey: root}}
}

// toIstiod points a pod at the fake istiod's port.
func toIstiod(f *fakeIstiod) func(*corev1.Pod) {
	port := netip.MustParseAddrPort(f.address).Port()
	return setEnv("PROXY_CONFIG", `{"discoveryAddress":"`+istiodHost+`:`+strconv.Itoa(int(port))+`"}`)
}

// eventually waits until f holds.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *fakeIstiod) record(id string, read func(*record) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.live[id]
	return rec != nil && read(rec)
}

func (f *fakeIstiod) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.live)
}
