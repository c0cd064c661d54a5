package faultyapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/test/lab/schedule"
)

// server counts writes, answers everything with one ConfigMap, and streams one event per send to watches.
type server struct {
	*httptest.Server
	writes atomic.Int64
	send   chan string
}

func serve(t *testing.T) (*server, *Transport, *kubernetes.Clientset) {
	t.Helper()
	s := &server{send: make(chan string)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if isWatch(r) {
			w.(http.Flusher).Flush()
			for {
				select {
				case <-r.Context().Done():
					return
				case name := <-s.send:
					_, _ = fmt.Fprintf(w, `{"type":"ADDED","object":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":%q}}}`+"\n", name)
					w.(http.Flusher).Flush()
				}
			}
		}
		if writes(r) {
			s.writes.Add(1)
		}
		_, _ = io.WriteString(w, `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}`)
	}))
	t.Cleanup(s.Close)
	bad, cfg := New(), &rest.Config{Host: s.URL}
	cfg.Wrap(bad.Wrap)
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, bad, kube
}

func TestRefusedRequestsLookAsTheAPIServerRefusesThemAndThenItIsGoodAgain(t *testing.T) {
	for kind, is := range map[schedule.Kind]func(error) bool{schedule.Conflict: apierrors.IsConflict, schedule.Error: apierrors.IsInternalError} {
		s, bad, kube := serve(t)
		bad.Inflict(schedule.Fault{Kind: kind, N: 2})
		for n := range 3 {
			err := kube.CoreV1().ConfigMaps("n").Delete(t.Context(), "x", metav1.DeleteOptions{})
			if refused := n < 2; refused && !is(err) || !refused && err != nil {
				t.Errorf("%s, request %d: %v", kind, n, err)
			}
		}
		if s.writes.Load() != 1 {
			t.Errorf("%s: %d writes took effect, want 1", kind, s.writes.Load())
		}
	}
}

func TestALostWriteTakesEffectAndATimedOutOneDoesNot(t *testing.T) {
	for _, c := range []struct {
		kind   schedule.Kind
		n      int
		effect int64
	}{{schedule.Lost, 1, 1}, {schedule.Lost, 2, 2}, {schedule.Timeout, 1, 0}, {schedule.Timeout, 2, 0}} {
		s, bad, kube := serve(t)
		bad.Inflict(schedule.Fault{Kind: c.kind, N: c.n})
		for range c.n {
			err := kube.CoreV1().ConfigMaps("n").Delete(t.Context(), "x", metav1.DeleteOptions{})
			if !apierrors.IsTimeout(err) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s %d: %v", c.kind, c.n, err)
			}
		}
		if s.writes.Load() != c.effect {
			t.Errorf("%s %d: %d writes took effect, want %d", c.kind, c.n, s.writes.Load(), c.effect)
		}
	}
}

func TestAStaleWatchDeliversLaterAndNothingIsLost(t *testing.T) {
	s, bad, kube := serve(t)
	w, err := kube.CoreV1().ConfigMaps("n").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	began := time.Now()
	bad.Stale(300 * time.Millisecond)
	for _, name := range []string{"a", "b"} {
		s.send <- name
	}
	for _, want := range []string{"a", "b"} {
		if got := (<-w.ResultChan()).Object.(metav1.Object).GetName(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if late := time.Since(began); late < 300*time.Millisecond {
		t.Errorf("delivered after %s", late)
	}
}

func TestAnExpiredWatchBreaksAndCannotBeResumedOnce(t *testing.T) {
	_, bad, kube := serve(t)
	w, err := kube.CoreV1().ConfigMaps("n").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bad.ExpireWatches()
	if _, open := <-w.ResultChan(); open {
		t.Error("the watch goes on")
	}
	if _, err := kube.CoreV1().ConfigMaps("n").Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
		t.Errorf("the next watch: %v", err)
	}
	again, err := kube.CoreV1().ConfigMaps("n").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again.Stop()
}

func TestNothingComesThroughAPartition(t *testing.T) {
	s, bad, kube := serve(t)
	bad.Partition(10 * time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := kube.CoreV1().ConfigMaps("n").Delete(ctx, "x", metav1.DeleteOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if s.writes.Load() != 0 {
		t.Error("a write came through")
	}
}

func TestCommandsAreObeyedAndWhatIsNoneOfTheAPIGoesOn(t *testing.T) {
	_, bad, kube := serve(t)
	var others []string
	err := bad.Obey(strings.NewReader("0 error 1\n0 clock-back 5 1s\n"), func(f schedule.Fault) { others = append(others, f.String()) })
	if err != nil || len(others) != 1 || others[0] != "0 clock-back 5 1s" {
		t.Errorf("%v, %v", others, err)
	}
	if _, err := kube.CoreV1().ConfigMaps("n").Get(t.Context(), "x", metav1.GetOptions{}); !apierrors.IsInternalError(err) {
		t.Error(err)
	}
	if err := bad.Obey(strings.NewReader("0 nonsense\n"), func(schedule.Fault) {}); err == nil {
		t.Error("nonsense is obeyed")
	}
}
