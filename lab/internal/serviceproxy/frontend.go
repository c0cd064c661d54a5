package serviceproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// acceptPause is the rest after a failed accept (no file descriptors left).
	acceptPause = 50 * time.Millisecond
)

// frontend listens on one port of a ClusterIP.
type frontend struct {
	log      *slog.Logger
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc

	mu        sync.Mutex
	endpoints []netip.AddrPort
	next      int
}

func listen(ctx context.Context, at netip.AddrPort, endpoints []netip.AddrPort, log *slog.Logger) (*frontend, error) {
	listener, err := net.Listen("tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for a Service: %w", err)
	}
	f := &frontend{log: log.With("listen", at.String()), listener: listener, endpoints: endpoints}
	f.ctx, f.cancel = context.WithCancel(ctx)
	go f.accept()
	return f, nil
}

// set replaces the endpoints for new connections.
func (f *frontend) set(endpoints []netip.AddrPort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoints = endpoints
}

// close refuses new connections from now on. Those that are open go on: their pod may still be
// about to finish its work.
func (f *frontend) close() { f.listener.Close() }

func (f *frontend) accept() {
	for {
		conn, err := f.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			f.log.Warn("accept", "error", err)
			time.Sleep(acceptPause)
			continue
		}
		go f.forward(conn)
	}
}

// forward connects a client with the next endpoint that answers.
func (f *frontend) forward(client net.Conn) {
	server, err := f.dial()
	if err != nil {
		f.log.Debug("no endpoint answers", "error", err)
		reset(client)
		return
	}
	stop := context.AfterFunc(f.ctx, func() {
		client.Close()
		server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
	client.Close()
	server.Close()
}

func (f *frontend) dial() (net.Conn, error) {
	f.mu.Lock()
	endpoints := f.endpoints
	first := f.next
	f.next++
	f.mu.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout}
	var errs []error
	for i := range endpoints {
		conn, err := dialer.DialContext(f.ctx, "tcp", endpoints[(first+i)%len(endpoints)].String())
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// pipe copies one direction of a connection and passes its end on.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		reset(to)
		reset(from)
		return
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the other side has gone
	}
}

// reset closes a connection so that the peer sees an error instead of a regular end.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
