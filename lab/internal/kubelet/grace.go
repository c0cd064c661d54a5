package kubelet

import (
	"sync"
	"time"
)

// minimumGrace is what a process gets between SIGTERM and SIGKILL even if its hook used up all of
// the grace period.
const minimumGrace = 2 * time.Second

// grace is a grace period that begins once and can then only be shortened.
type grace struct {
	mu       sync.Mutex
	deadline time.Time
	timer    *time.Timer
	over     chan struct{}
	once     sync.Once
}

func newGrace() *grace { return &grace{over: make(chan struct{})} }

// limit lets the period end after d at the latest.
func (g *grace) limit(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	deadline := time.Now().Add(d)
	if g.timer != nil && !deadline.Before(g.deadline) {
		return
	}
	g.deadline = deadline
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(d, func() { g.once.Do(func() { close(g.over) }) })
}

// release stops the timer of a period that nobody waits for any more.
func (g *grace) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
}
