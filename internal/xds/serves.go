package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// http2Hello is the client preface of HTTP/2 with an empty SETTINGS frame; a server answers with its own SETTINGS before
// any stream exists (https://www.rfc-editor.org/rfc/rfc9113#section-3.4). So istiod sees a connection and no proxy.
var http2Hello = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")

const (
	frameHeader  = 9
	settingsType = 4
)

// serves tries TLS first and plain text second; the error tells about both.
func (c *Client) serves(ctx context.Context, ip string) error {
	if ip == "" {
		return errors.New("its pod has no IP")
	}
	half, cancel := context.WithTimeout(ctx, c.timeout/2)
	defer cancel()
	secure := c.hello(half, net.JoinHostPort(ip, securePort), true)
	if secure == nil {
		return nil
	}
	plain := c.hello(ctx, net.JoinHostPort(ip, plainPort), false)
	if plain == nil {
		return nil
	}
	return errors.Join(secure, plain)
}

// hello connects and waits until the other side speaks HTTP/2.
func (c *Client) hello(ctx context.Context, address string, secure bool) error {
	conn, err := c.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("set the deadline of %s: %w", address, err)
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if secure {
		// Nothing secret is sent and nothing that is received is believed: this asks whether somebody answers, and the
		// proxies verify istiod's certificate themselves.
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // see above
		if err := secured.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("handshake with %s: %w", address, err)
		}
		conn = secured
	}
	if _, err := conn.Write(http2Hello); err != nil {
		return fmt.Errorf("greet %s: %w", address, err)
	}
	var frame [frameHeader]byte
	if _, err := io.ReadFull(conn, frame[:]); err != nil {
		return fmt.Errorf("wait for an answer of %s: %w", address, err)
	}
	if frame[3] != settingsType {
		return fmt.Errorf("%s does not speak HTTP/2", address)
	}
	return nil
}
