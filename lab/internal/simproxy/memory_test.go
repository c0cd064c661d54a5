package simproxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// serverEnv makes the test binary an istiod with many clusters, in a process of its own: its memory must not count.
const serverEnv = "SIMPROXY_TEST_SERVER"

// manyConnections is how many proxies the test connects; SIMPROXY_TEST_CONNECTIONS overrides it for a measurement.
const manyConnections = 300

// maxBytes is what one connection may cost.
const maxBytes = 128 << 10

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) == "" {
		os.Exit(m.Run())
	}
	if err := serveAlone(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// server is what the server process tells: where it listens and whom to trust.
type server struct{ Address, Root string }

// serveAlone serves until standard input ends.
func serveAlone() error {
	t := &testing.B{}
	cert, root := issue(t)
	var clusters []proto.Message
	for i := range 500 {
		clusters = append(clusters, &cluster.Cluster{
			Name:                 fmt.Sprintf("outbound|9080||service-%d.some-namespace.svc.cluster.local", i),
			ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		})
	}
	f := newFakeIstiod(t, map[string][]proto.Message{clusterType: clusters})
	f.tokens = nil // all are accepted
	f.start(cert)
	defer f.stop()
	b, err := json.Marshal(server{Address: f.address, Root: root})
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", b)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startServer starts the server process.
func startServer(t *testing.T) server {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var s server
	if err := json.Unmarshal(line, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func TestConnectionsAreCheap(t *testing.T) {
	n := manyConnections
	if v := os.Getenv("SIMPROXY_TEST_CONNECTIONS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	remote := startServer(t)
	istiod := &fakeIstiod{t: t, address: remote.Address, tokens: map[string]bool{}}
	c := newTestCluster(t, istiod, remote.Root)
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	f := newFleet(newLookup(c), concurrentDials, log)
	defer f.wait()
	defer cancel()
	var pods []*corev1.Pod
	for i := range n {
		kept, err := prune(sidecarPod(toIstiod(istiod), func(p *corev1.Pod) {
			p.ObjectMeta.Name, p.ObjectMeta.UID = "reviews-"+strconv.Itoa(i), types.UID(strconv.Itoa(i))
			p.Status.PodIP = fmt.Sprintf("10.160.%d.%d", i/250, i%250+1)
			p.CreationTimestamp = metav1.Now()
		}))
		if err != nil {
			t.Fatal(err)
		}
		pods = append(pods, kept.(*corev1.Pod))
	}
	before, begin := inUse(), time.Now()
	for _, pod := range pods {
		f.observe(ctx, pod)
	}
	eventually(t, "all synchronised", func() bool { return f.counts.synced.Load() == int64(n) })
	took := time.Since(begin)
	each := (inUse() - before) / uint64(n)
	t.Logf("%d connections in %v: %d KiB and %d goroutines each", n, took.Round(time.Millisecond), each>>10, runtime.NumGoroutine()/n)
	if each > maxBytes {
		t.Errorf("a connection takes %d bytes, want at most %d", each, maxBytes)
	}
	runtime.KeepAlive(pods)
}
