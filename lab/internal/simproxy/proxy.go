package simproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
)

const (
	adsMethod = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"

	retryFirst = 500 * time.Millisecond // Envoy's first back-off; doubles with every failure, always jittered
	retryMax   = 10 * time.Second
	dialMax    = 10 * time.Second // connection and handshake
	syncMax    = 15 * time.Second // how long a proxy that waits for its first configuration keeps others waiting
	bufferSize = 4 << 10          // small, for thousands of connections; istiod's pushes are read as they come
	windowSize = 64 << 10         // fixed flow control: no estimation, no growth
)

// turns bounds how many proxies connect at the same moment.
type turns chan struct{}

// take waits for a turn.
func (t turns) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// proxy is the connection of one pod.
type proxy struct {
	pod    *corev1.Pod
	lookup *lookup
	turns  turns
	count  *counts
	log    *slog.Logger

	token token
}

// run keeps the pod connected until ctx ends.
func (p *proxy) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		synced, err := p.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if synced {
			failures = 0
		}
		level := slog.LevelDebug
		if failures == 0 {
			level = slog.LevelInfo // the first of a row; the rest would flood the log
		}
		p.log.Log(ctx, level, "connection to istiod ended", "synced", synced, "error", err)
		if !pause(ctx, retryDelay(failures, rand.Float64())) {
			return
		}
		failures++
	}
}

// retryDelay is the back-off before attempt n+1: doubling, and random between a half and the whole.
func retryDelay(failures int, random float64) time.Duration {
	d := retryMax
	if failures < 10 {
		d = min(retryMax, retryFirst<<failures)
	}
	return d/2 + time.Duration(random*float64(d/2))
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connect holds one connection from dialling to its end. It waits for its turn and gives it back once synchronised.
func (p *proxy) connect(ctx context.Context) (synced bool, err error) {
	if err := p.turns.take(ctx); err != nil {
		return false, err
	}
	release := sync.OnceFunc(func() { <-p.turns })
	defer release()

	t, err := targetOf(p.pod)
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			p.refresh(t, err)
		}
	}()
	conn, err := p.dial(ctx, t)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }() // ends the stream too; istiod sees the proxy leave

	s, err := p.open(ctx, conn, t)
	if err != nil {
		return false, err
	}
	impatience := time.AfterFunc(syncMax, release)
	defer impatience.Stop()
	err = s.run(func() {
		synced = true
		release()
		p.count.synced.Add(1)
	})
	if synced {
		p.count.synced.Add(-1)
	}
	return synced, err
}

// dial prepares a connection to the control plane; gRPC dials when the stream is opened.
func (p *proxy) dial(ctx context.Context, t target) (*grpc.ClientConn, error) {
	address, err := p.lookup.address(ctx, t)
	if err != nil {
		return nil, err
	}
	root, err := p.lookup.root(ctx, p.pod.Namespace)
	if err != nil {
		return nil, err
	}
	if p.token.value == "" || time.Now().After(p.token.renew) {
		if p.token, err = p.lookup.token(ctx, p.pod, time.Now()); err != nil {
			return nil, err
		}
	}
	tlsConfig := &tls.Config{ServerName: t.Host, RootCAs: root, MinVersion: tls.VersionTLS12}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig)),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
		grpc.WithReadBufferSize(bufferSize), grpc.WithWriteBufferSize(bufferSize),
		grpc.WithInitialWindowSize(windowSize), grpc.WithInitialConnWindowSize(windowSize),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialMax}),
	)
	if err != nil {
		return nil, fmt.Errorf("istiod %s: %w", t.Host, err)
	}
	return conn, nil
}

// open starts the ADS stream with the pod's identity.
func (p *proxy) open(ctx context.Context, conn *grpc.ClientConn, t target) (*session, error) {
	node, err := nodeOf(p.pod)
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(node)
	if err != nil {
		return nil, fmt.Errorf("encode node of pod %s/%s: %w", p.pod.Namespace, p.pod.Name, err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+p.token.value, "ClusterID", t.ClusterID)
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, adsMethod,
		grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return nil, fmt.Errorf("istiod %s: %w", t.Host, err)
	}
	return newSession(s, encoded, modeOf(p.pod) == ModeNack), nil
}

// refresh drops what may have caused a failure, so that the next attempt asks the API server again.
func (p *proxy) refresh(t target, err error) {
	p.lookup.forget(p.pod.Namespace, t)
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) && s.GRPCStatus().Code() == codes.Unauthenticated {
		p.token = token{}
	}
}
