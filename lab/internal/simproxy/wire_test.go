package simproxy

import (
	"reflect"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

func packed(t testing.TB, messages ...proto.Message) []*anypb.Any {
	t.Helper()
	var list []*anypb.Any
	for _, m := range messages {
		a, err := anypb.New(m)
		if err != nil {
			t.Error(err)
		}
		list = append(list, a)
	}
	return list
}

// testClusters are two EDS clusters (one by its own name) and one that is not.
func testClusters() []proto.Message {
	eds := &cluster.Cluster_Type{Type: cluster.Cluster_EDS}
	return []proto.Message{
		&cluster.Cluster{Name: "b", ClusterDiscoveryType: eds, ConnectTimeout: durationpb.New(time.Second)},
		&cluster.Cluster{Name: "x", ClusterDiscoveryType: eds, EdsClusterConfig: &cluster.Cluster_EdsClusterConfig{ServiceName: "a"}},
		&cluster.Cluster{Name: "static", ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}},
	}
}

// testListeners name the routes 80 (twice) and 9080, the second in the default chain; one has its routes inline.
func testListeners(t *testing.T) []proto.Message {
	chain := func(m *hcm.HttpConnectionManager) *listener.FilterChain {
		return &listener.FilterChain{Filters: []*listener.Filter{
			{Name: "other", ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(t, &core.Node{Id: "not a manager"})[0]}},
			{Name: "http", ConfigType: &listener.Filter_TypedConfig{TypedConfig: packed(t, m)[0]}},
		}}
	}
	rds := func(name string) *hcm.HttpConnectionManager {
		return &hcm.HttpConnectionManager{RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: name}}}
	}
	return []proto.Message{
		&listener.Listener{Name: "l1", FilterChains: []*listener.FilterChain{chain(rds("80")), chain(&hcm.HttpConnectionManager{})}},
		&listener.Listener{Name: "l2", FilterChains: []*listener.FilterChain{chain(rds("80"))}, DefaultFilterChain: chain(rds("9080"))},
	}
}

func TestDecodeReadsNamesOnly(t *testing.T) {
	for kind, test := range map[string]struct {
		resources []proto.Message
		want      []string
	}{
		clusterType:  {testClusters(), []string{"a", "b"}},
		listenerType: {testListeners(t), []string{"80", "9080"}},
		endpointType: {testClusters(), nil},
	} {
		b, err := proto.Marshal(&discovery.DiscoveryResponse{
			VersionInfo: "v1", Nonce: "n1", TypeUrl: kind, Resources: packed(t, test.resources...),
			ControlPlane: &core.ControlPlane{Identifier: "istiod"},
		})
		if err != nil {
			t.Fatal(err)
		}
		var r response
		if err := r.decode(b); err != nil {
			t.Fatal(err)
		}
		if r.Type != kind || r.Version != "v1" || r.Nonce != "n1" || !reflect.DeepEqual(r.Names, test.want) {
			t.Errorf("%s: got %+v, want names %v", kind, r, test.want)
		}
		if err := r.decode(b[:len(b)-3]); err == nil {
			t.Errorf("%s: accepted a truncated message", kind)
		}
	}
}

func TestEncodeIsADiscoveryRequest(t *testing.T) {
	node, err := proto.Marshal(&core.Node{Id: "me"})
	if err != nil {
		t.Fatal(err)
	}
	b := request{Type: listenerType, Version: "v", Nonce: "n", Names: encodeNames([]string{"a", "b"}), Node: node, Err: errNack}.encode()
	var got discovery.DiscoveryRequest
	if err := proto.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.GetTypeUrl() != listenerType || got.GetVersionInfo() != "v" || got.GetResponseNonce() != "n" ||
		got.GetNode().GetId() != "me" || !reflect.DeepEqual(got.GetResourceNames(), []string{"a", "b"}) ||
		got.GetErrorDetail().GetCode() != errInternal || got.GetErrorDetail().GetMessage() != errNack.Error() {
		t.Errorf("got %v", &got)
	}
}

func TestRetryDelay(t *testing.T) {
	for _, test := range []struct {
		failures int
		random   float64
		want     time.Duration
	}{
		{0, 0, 250 * time.Millisecond},
		{0, 1, 500 * time.Millisecond},
		{1, 1, time.Second},
		{4, 1, 8 * time.Second},
		{5, 1, retryMax},
		{1 << 20, 0, retryMax / 2},
	} {
		if got := retryDelay(test.failures, test.random); got != test.want {
			t.Errorf("retryDelay(%d, %v) = %v, want %v", test.failures, test.random, got, test.want)
		}
	}
}
