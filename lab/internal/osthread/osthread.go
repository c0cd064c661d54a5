// Package osthread runs functions on one operating system thread that never ends.
//
// Two things in Linux belong to a thread, not to a process: the namespaces it has joined, and the
// "parent" whose death sends a child its Pdeathsig. Goroutines move between threads, and the Go
// runtime ends the thread of a goroutine that returns while locked. A Thread avoids both traps.
package osthread

import "runtime"

// Thread is one operating system thread, locked for ever to the goroutine that serves it.
type Thread struct {
	calls chan call
}

type call struct {
	run  func() error
	done chan error
}

// New starts a thread. It lives as long as the process: make few of them.
func New() *Thread {
	t := &Thread{calls: make(chan call)}
	go t.serve()
	return t
}

func (t *Thread) serve() {
	runtime.LockOSThread()
	for c := range t.calls {
		c.done <- c.run()
	}
}

// Do runs f on the thread and returns its error. Calls are served one after the other, so f must be
// short; f must not call Do of the same thread.
func (t *Thread) Do(f func() error) error {
	done := make(chan error, 1)
	t.calls <- call{run: f, done: done}
	return <-done
}
