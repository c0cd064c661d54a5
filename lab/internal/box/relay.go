package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// relay forwards every connection that l accepts to a TCP address of this process's network namespace.
func relay(ctx context.Context, l net.Listener, to string) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var connections sync.WaitGroup
	defer connections.Wait()
	for {
		from, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		connections.Go(func() { forward(ctx, from, to) })
	}
}

// forward copies between a connection and a new one until both directions are done or ctx ends.
func forward(ctx context.Context, from net.Conn, to string) {
	defer func() { _ = from.Close() }()
	dialer := &net.Dialer{}
	target, err := dialer.DialContext(ctx, "tcp", to)
	if err != nil {
		return // the client sees its connection closed
	}
	defer func() { _ = target.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = from.Close(); _ = target.Close() })
	defer stop()
	var directions sync.WaitGroup
	for _, pair := range [][2]net.Conn{{from, target}, {target, from}} {
		directions.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			if w, ok := pair[0].(*net.TCPConn); ok {
				_ = w.CloseWrite()
			}
		})
	}
	directions.Wait()
}
