package simproxy

import (
	"context"
	"io"
	"log/slog"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// begin starts a fake istiod, a fake cluster and the package under test.
func begin(t *testing.T) (*fakeIstiod, *testCluster) {
	cert, root := issue(t)
	istiod := newFakeIstiod(t, map[string][]proto.Message{clusterType: testClusters(), listenerType: testListeners(t)})
	istiod.start(cert)
	t.Cleanup(istiod.stop)
	c := newTestCluster(t, istiod, root)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, c, slog.New(slog.NewTextHandler(io.Discard, nil))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return istiod, c
}

const sidecarID = "sidecar~10.160.0.7~reviews-1.bookinfo~bookinfo.svc.example.org"

func TestConnectAcknowledgeLeave(t *testing.T) {
	istiod, c := begin(t)
	pod, err := c.CoreV1().Pods("bookinfo").Create(t.Context(), sidecarPod(toIstiod(istiod)), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything acknowledged", func() bool {
		return istiod.record(sidecarID, func(r *record) bool { return len(r.acked) == 4 })
	})
	istiod.record(sidecarID, func(r *record) bool {
		if !reflect.DeepEqual(r.names[endpointType], []string{"a", "b"}) || !reflect.DeepEqual(r.names[routeType], []string{"80", "9080"}) {
			t.Errorf("asked for %v", r.names)
		}
		if got := r.header.Get("clusterid"); len(got) != 1 || got[0] != "east" {
			t.Errorf("cluster header %v", got)
		}
		r.push <- clusterType
		return true
	})
	eventually(t, "a push acknowledged", func() bool {
		return istiod.record(sidecarID, func(r *record) bool { return r.acked[clusterType] == "v5" })
	})
	pod.Annotations[ModeAnnotation] = ModeOff
	if pod, err = c.CoreV1().Pods("bookinfo").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "disconnected when switched off", func() bool { return istiod.connections() == 0 })
	delete(pod.Annotations, ModeAnnotation)
	if _, err = c.CoreV1().Pods("bookinfo").Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected again", func() bool { return istiod.connections() == 1 })
	if err := c.CoreV1().Pods("bookinfo").Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "disconnected with the pod", func() bool { return istiod.connections() == 0 })
}

func TestNack(t *testing.T) {
	istiod, c := begin(t)
	pod := sidecarPod(toIstiod(istiod), func(p *corev1.Pod) { p.Annotations[ModeAnnotation] = ModeNack })
	if _, err := c.CoreV1().Pods("bookinfo").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "listeners rejected", func() bool {
		return istiod.record(sidecarID, func(r *record) bool {
			return r.nacked[listenerType] == errNack.Error() && r.acked[clusterType] != "" && r.acked[listenerType] == ""
		})
	})
}

func TestReconnectWithNewRootAndToken(t *testing.T) {
	istiod, c := begin(t)
	if _, err := c.CoreV1().Pods("bookinfo").Create(t.Context(), sidecarPod(toIstiod(istiod)), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected", func() bool { return istiod.connections() == 1 })
	istiod.stop()
	eventually(t, "gone", func() bool { return istiod.connections() == 0 })

	cert, root := issue(t) // another root, and all old tokens revoked
	istiod.mu.Lock()
	istiod.tokens = map[string]bool{}
	istiod.mu.Unlock()
	if _, err := c.CoreV1().ConfigMaps("bookinfo").Update(t.Context(), rootConfig(root), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	istiod.start(cert)
	eventually(t, "connected again", func() bool {
		return istiod.record(sidecarID, func(r *record) bool { return len(r.acked) == 4 })
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.issued != 2 {
		t.Errorf("%d tokens were issued, want one before and one after the revocation", c.issued)
	}
}
