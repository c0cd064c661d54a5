package box

import (
	"encoding/json"
	"os"
	"sync"
)

// reporter sends reports to `lab up`, as long as that listens.
type reporter struct {
	mu   sync.Mutex
	file *os.File
}

func newReporter(f *os.File) *reporter { return &reporter{file: f} }

func (r *reporter) send(m report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		return
	}
	if err := json.NewEncoder(r.file).Encode(m); err != nil { // `lab up` is gone: the lab itself goes on
		_ = r.file.Close()
		r.file = nil
	}
}

func (r *reporter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}
