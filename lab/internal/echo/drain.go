package echo

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/stats"
)

// drainPoll is how often a draining server looks at its connections.
const drainPoll = 50 * time.Millisecond

// drain says how long a server that was told to stop keeps serving as before: until the removal of its endpoint has
// reached the clients. That is at least min, because a client that has not heard of it may still connect; and then
// until all clients have gone by themselves, which tells that they have heard. Control planes delay endpoint updates
// under load, istiod by up to ten seconds, so no fixed time is right. A client that stays is told to go after max.
type drain struct{ min, max time.Duration }

// wait returns when the server may stop, and how long that took.
func (d drain) wait(clients *connections) time.Duration {
	begin := time.Now()
	time.Sleep(d.min)
	for clients.open.Load() > 0 && time.Since(begin) < d.max {
		time.Sleep(drainPoll)
	}
	return time.Since(begin).Round(time.Millisecond)
}

// connections counts the open connections of a server.
type connections struct{ open atomic.Int64 }

var _ stats.Handler = (*connections)(nil)

// HandleConn counts.
func (c *connections) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		c.open.Add(1)
	case *stats.ConnEnd:
		c.open.Add(-1)
	}
}

// TagConn does nothing.
func (c *connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (c *connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (c *connections) HandleRPC(context.Context, stats.RPCStats) {}
