package faultyapi

import (
	"io"
	"sync/atomic"
	"time"
)

// stream is the body of a watch.
type stream struct {
	io.ReadCloser

	of     *Transport
	broken atomic.Bool
}

// Read delivers events, later than they came while the connection is silent.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	for {
		if s.broken.Load() {
			return 0, io.ErrUnexpectedEOF
		}
		wait := max(s.of.until(&s.of.silent), s.of.until(&s.of.dark))
		if wait <= 0 {
			return n, err
		}
		time.Sleep(min(wait, 20*time.Millisecond)) // the packets are on their way
	}
}

// Close implements io.Closer.
func (s *stream) Close() error {
	s.of.mu.Lock()
	delete(s.of.watches, s)
	s.of.mu.Unlock()
	return s.ReadCloser.Close()
}

// cut breaks the stream; the reader finds out at once.
func (s *stream) cut() {
	s.broken.Store(true)
	_ = s.ReadCloser.Close()
}
