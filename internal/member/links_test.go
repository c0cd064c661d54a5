package member

import (
	"context"
	"encoding/pem"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

func certificate(s *server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func connected(l *Links, cluster string) func() bool {
	return func() bool { return l.State(cluster).Connected }
}

func away(l *Links, cluster string) func() bool {
	return func() bool { s := l.State(cluster); return s.Asked && !s.Connected }
}

func synced(l *Links, cluster string) func() bool {
	return func() bool { return l.State(cluster).Synced }
}

func TestAClusterThatAnswersIsConnectedAndItsObjectsAreRead(t *testing.T) {
	s, l := serve(t), newLinks(t)
	var told atomic.Int64
	l.Listen(func(cluster string) {
		if cluster == "east" {
			told.Add(1)
		}
	})
	if _, err := l.Client("east"); !errors.Is(err, ErrNotConnected) || !strings.Contains(err.Error(), `"east" is not registered`) {
		t.Errorf("before: %v", err)
	}
	l.Set("east", s.target(t))
	eventually(t, "synced", synced(l, "east"))
	state := l.State("east")
	if state.Kubernetes != "v1.37.2" || state.Server != s.URL || time.Since(state.LastContact) > time.Minute {
		t.Errorf("%+v", state)
	}
	r, err := l.Cached("east")
	if err != nil {
		t.Fatal(err)
	}
	before := told.Load()
	eventually(t, "the watch", func() bool {
		return s.send(t, "controlplanes", v1alpha1.ControlPlane{
			TypeMeta:   metav1.TypeMeta{APIVersion: "meshlift.dev/v1alpha1", Kind: "ControlPlane"},
			ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "5"},
		}) > 0
	})
	eventually(t, "the ControlPlane", func() bool {
		return r.Get(t.Context(), client.ObjectKey{Name: "default"}, &v1alpha1.ControlPlane{}) == nil
	})
	eventually(t, "listeners hear of it", func() bool { return told.Load() > before })
	if err := r.List(t.Context(), &v1alpha1.DataPlaneRolloutList{}); err != nil {
		t.Error(err)
	}
}

// The cluster hangs as a stopped process does: the kernel accepts, nobody answers.
func TestAHangingClusterCostsTheOthersNothing(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	s, l := serve(t), newLinks(t)
	hanging := s.target(t)
	hanging.Kubeconfig = []byte(strings.ReplaceAll(string(hanging.Kubeconfig), s.URL, "https://"+silent.Addr().String()))
	begin := time.Now()
	l.Set("east", hanging)
	l.Set("west", s.target(t))
	if d := time.Since(begin); d > 200*time.Millisecond {
		t.Errorf("making the links took %s", d)
	}
	eventually(t, "west is connected", connected(l, "west"))
	eventually(t, "east is away", away(l, "east"))
	if m := l.State("east").Message; !strings.Contains(m, "does not answer within 300ms") {
		t.Errorf("%q", m)
	}
	begin = time.Now()
	for range 100 {
		if _, err := l.Client("east"); !errors.Is(err, ErrNotConnected) {
			t.Fatalf("%v", err)
		}
		if _, err := l.Cached("east"); err == nil {
			t.Fatal("never read, and no error")
		}
		if _, err := l.Client("west"); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begin); d > 200*time.Millisecond {
		t.Errorf("100 looks took %s", d)
	}
}

func TestAClusterThatStopsAnsweringIsNoticedAndComesBack(t *testing.T) {
	s, l := serve(t), newLinks(t)
	l.Set("east", s.target(t))
	eventually(t, "synced", synced(l, "east"))
	c, err := l.Client("east")
	if err != nil {
		t.Fatal(err)
	}
	s.hang.Store(true)
	begin := time.Now()
	if err := c.List(t.Context(), &v1alpha1.ControlPlaneList{}); err == nil || time.Since(begin) > 3*time.Second {
		t.Errorf("a request that nobody answers: %v after %s", err, time.Since(begin))
	}
	eventually(t, "away", away(l, "east"))
	begin = time.Now()
	if err := c.List(t.Context(), &v1alpha1.ControlPlaneList{}); !errors.Is(err, ErrNotConnected) || time.Since(begin) > 100*time.Millisecond {
		t.Errorf("a request of an older client: %v after %s", err, time.Since(begin))
	}
	if _, err := l.Cached("east"); err != nil {
		t.Errorf("what was read is not kept: %v", err)
	}
	s.hang.Store(false)
	eventually(t, "back", connected(l, "east"))
	if err := c.List(t.Context(), &v1alpha1.ControlPlaneList{}); err != nil {
		t.Errorf("the older client: %v", err)
	}
	eventually(t, "it is watched again", func() bool {
		return s.send(t, "controlplanes", v1alpha1.ControlPlane{
			TypeMeta:   metav1.TypeMeta{APIVersion: "meshlift.dev/v1alpha1", Kind: "ControlPlane"},
			ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "7"},
		}) > 0
	})
}

// A request that waits when the probe gives up fails then, and not when its own time is over.
func TestWhoWaitsForAClusterThatWentAwayIsTold(t *testing.T) {
	s, l := serve(t), newLinks(t)
	l.options.RequestLimit = time.Minute
	l.Set("east", s.target(t))
	eventually(t, "synced", synced(l, "east"))
	c, err := l.Client("east")
	if err != nil {
		t.Fatal(err)
	}
	s.hang.Store(true)
	begin := time.Now()
	if err := c.List(t.Context(), &v1alpha1.ControlPlaneList{}); err == nil || time.Since(begin) > 15*time.Second {
		t.Errorf("%v after %s", err, time.Since(begin))
	}
}

func TestCredentialsRotateWithoutALossAndBadOnesSaySo(t *testing.T) {
	s, l := serve(t), newLinks(t)
	l.Set("east", s.target(t))
	eventually(t, "synced", synced(l, "east"))
	s.token.Store("second")
	eventually(t, "the old token is refused", func() bool { return l.State("east").Reason == hub.ReasonCredentials })
	if m := l.State("east").Message; !strings.Contains(m, "meshlift cluster rotate east") {
		t.Errorf("%q", m)
	}
	l.Set("east", Target{Kubeconfig: s.kubeconfig(t, "second"), RequestsPerSecond: 100})
	eventually(t, "connected", connected(l, "east"))
	lost := false
	l.Listen(func(string) { lost = lost || !l.State("east").Connected })
	l.Set("east", Target{Kubeconfig: s.kubeconfig(t, "second"), RequestsPerSecond: 50})
	eventually(t, "synced with the new limit", synced(l, "east"))
	if lost {
		t.Error("a new limit of requests showed as a lost connection")
	}
	l.Set("east", Target{Problem: "there is no Secret"})
	if s := l.State("east"); s.Connected || s.Reason != hub.ReasonCredentials || s.Message != "there is no Secret" {
		t.Errorf("%+v", s)
	}
}

func TestAServerThatIsNotReadyIsNotConnected(t *testing.T) {
	s, l := serve(t), newLinks(t)
	s.unready.Store(true)
	l.Set("east", s.target(t))
	eventually(t, "away", away(l, "east"))
	if m := l.State("east").Message; !strings.Contains(m, "is not ready") {
		t.Errorf("%q", m)
	}
	s.unready.Store(false)
	eventually(t, "connected", connected(l, "east"))
}

func TestAClusterWithoutMeshliftSaysSoAndIsReadWhenItComes(t *testing.T) {
	s, l := serve(t), newLinks(t)
	s.notOurs.Store(true)
	l.Set("east", s.target(t))
	eventually(t, "the reason", func() bool {
		_, err := l.Cached("east")
		return err != nil && strings.Contains(err.Error(), "Meshlift is not installed in cluster \"east\"")
	})
	s.notOurs.Store(false)
	eventually(t, "synced", synced(l, "east"))
}

func TestAWatchOutlivesTheLimitOfRequests(t *testing.T) {
	s, l := serve(t), newLinks(t)
	l.Set("east", s.target(t))
	eventually(t, "synced", synced(l, "east"))
	asked := func() (n int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.watches)
	}
	eventually(t, "watches", func() bool { return asked() == len(watched()) })
	s.mu.Lock()
	first := map[chan []byte]bool{}
	for w := range s.watches {
		first[w] = true
	}
	s.mu.Unlock()
	select {
	case <-t.Context().Done():
	case <-time.After(time.Second): // twice the limit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watches {
		if !first[w] {
			t.Error("a watch was begun anew")
		}
	}
}

func TestDroppedLinksLeaveNoGoroutines(t *testing.T) {
	s, l := serve(t), newLinks(t)
	hanging := serve(t)
	hanging.hang.Store(true)
	settle := func(limit int) bool {
		runtime.GC()
		return runtime.NumGoroutine() <= limit
	}
	round := func() {
		l.Set("east", s.target(t))
		l.Set("west", hanging.target(t))
		eventually(t, "synced", synced(l, "east"))
		l.Set("east", Target{Kubeconfig: s.kubeconfig(t, "first"), RequestsPerSecond: 7})
		l.Drop("east")
		l.Drop("west")
	}
	round() // what is made once stays
	eventually(t, "idle", func() bool { return len(l.Names()) == 0 })
	before := runtime.NumGoroutine()
	for range 5 {
		round()
	}
	eventually(t, "as many goroutines as before", func() bool { return settle(before + 3) })
}

func TestAClosedSetOfLinksTakesNoMore(t *testing.T) {
	s, l := serve(t), newLinks(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Start(ctx) }()
	l.Set("east", s.target(t))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.Set("west", s.target(t))
	if n := l.Names(); len(n) != 0 {
		t.Errorf("%q", n)
	}
}
