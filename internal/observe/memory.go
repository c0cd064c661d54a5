package observe

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

// How long an answer of the API server is believed. Its version changes when somebody upgrades Kubernetes, and a missing
// kind is there when somebody installs a CRD: both matter to nothing that cannot wait.
const (
	versionAge = time.Minute
	missingAge = 30 * time.Second
)

// memory remembers answers of the API server that no watch brings. A nil memory remembers nothing. It is safe for
// concurrent use.
type memory struct {
	clock clock.PassiveClock

	mu      sync.Mutex
	server  answer
	asked   time.Time
	missing map[schema.GroupVersionKind]time.Time
}

// answer of an API server about itself.
type answer struct {
	version   string // for example "v1.37.2"
	claimable bool
}

func newMemory(c clock.PassiveClock) *memory {
	return &memory{clock: c, missing: map[schema.GroupVersionKind]time.Time{}}
}

// ask returns what the API server says about itself.
func (m *memory) ask(s Server) (answer, error) {
	if m == nil {
		m = newMemory(clock.RealClock{})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.server.version != "" && m.clock.Since(m.asked) < versionAge {
		return m.server, nil
	}
	v, err := s.ServerVersion()
	if err != nil {
		return answer{}, err
	}
	can, err := claimable(s)
	if err != nil {
		return answer{}, err
	}
	m.server, m.asked = answer{v.GitVersion, can}, m.clock.Now()
	return m.server, nil
}

// misses tells whether the API server did not have the kind a short while ago.
func (m *memory) misses(kind schema.GroupVersionKind) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	since, ok := m.missing[kind]
	return ok && m.clock.Since(since) < missingAge
}

func (m *memory) miss(kind schema.GroupVersionKind) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missing[kind] = m.clock.Now()
}
