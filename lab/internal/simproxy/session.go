package simproxy

import (
	"errors"
	"fmt"
	"io"
	"unique"
)

// stream is the part of a gRPC stream that a session needs.
type stream interface {
	SendMsg(m any) error
	RecvMsg(m any) error
}

// subscription is the state of one resource type on a stream.
type subscription struct {
	active  bool
	version string                // last accepted
	nonce   string                // last received
	names   unique.Handle[string] // encoded resource names; equal sets are stored once for all proxies
}

// session speaks the state-of-the-world protocol on one stream in the order in which Envoy does: clusters, then the
// endpoints that they name and listeners, then the routes that those name.
type session struct {
	stream stream
	node   []byte
	nack   bool // reject listeners

	subs   map[string]*subscription
	synced bool
}

func newSession(s stream, node []byte, nack bool) *session {
	none := unique.Make("")
	return &session{stream: s, node: node, nack: nack, subs: map[string]*subscription{
		clusterType: {names: none}, endpointType: {names: none}, listenerType: {names: none}, routeType: {names: none},
	}}
}

// run keeps the session going until the stream ends; onSync is called once, when everything asked for was received.
func (s *session) run(onSync func()) error {
	if err := s.subscribe(clusterType, nil); err != nil {
		return err
	}
	for {
		var r response
		if err := s.stream.RecvMsg(&r); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := s.handle(&r); errors.Is(err, io.EOF) {
			return fmt.Errorf("send: %w", s.stream.RecvMsg(&r)) // gRPC tells the reason to the receiver
		} else if err != nil {
			return err
		}
		if !s.synced && s.complete() {
			s.synced = true
			onSync()
		}
	}
}

// complete says whether every subscription has had an answer.
func (s *session) complete() bool {
	for _, sub := range s.subs {
		if sub.active && sub.nonce == "" {
			return false
		}
	}
	return s.subs[listenerType].active
}

// handle answers one response and subscribes to what it names.
func (s *session) handle(r *response) error {
	sub := s.subs[r.Type]
	if sub == nil {
		return nil // nothing of the kind was asked for
	}
	sub.nonce = r.Nonce
	if s.nack && r.Type == listenerType {
		return s.send(r.Type, request{Err: errNack})
	}
	sub.version = r.Version
	if err := s.send(r.Type, request{}); err != nil {
		return err
	}
	switch r.Type {
	case clusterType:
		if err := s.subscribe(endpointType, r.Names); err != nil {
			return err
		}
		if !s.subs[listenerType].active {
			return s.subscribe(listenerType, nil)
		}
	case listenerType:
		return s.subscribe(routeType, r.Names)
	}
	return nil
}

// subscribe asks for a type, or changes the names asked for. Clusters and listeners are asked for without names (all
// of them); for the other types no names means nothing to ask.
func (s *session) subscribe(kind string, names []string) error {
	sub := s.subs[kind]
	encoded := unique.Make(encodeNames(names))
	wildcard := kind == clusterType || kind == listenerType
	if sub.names == encoded && (sub.active || !wildcard) {
		return nil
	}
	sub.names = encoded
	sub.active = wildcard || len(names) > 0
	r := request{}
	if kind == clusterType {
		r.Node, s.node = s.node, nil
	}
	return s.send(kind, r)
}

// send completes a request with the state of its subscription.
func (s *session) send(kind string, r request) error {
	sub := s.subs[kind]
	r.Type, r.Version, r.Nonce, r.Names = kind, sub.version, sub.nonce, sub.names.Value()
	if err := s.stream.SendMsg(r.encode()); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
