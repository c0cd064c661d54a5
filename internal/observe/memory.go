package observe

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
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

	mu         sync.Mutex
	kubernetes string
	asked      time.Time
	missing    map[schema.GroupVersionKind]time.Time
}

func newMemory(c clock.PassiveClock) *memory {
	return &memory{clock: c, missing: map[schema.GroupVersionKind]time.Time{}}
}

// version is the version of the API server, for example "v1.37.2".
func (m *memory) version(d discovery.ServerVersionInterface) (string, error) {
	if m == nil {
		m = newMemory(clock.RealClock{})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kubernetes != "" && m.clock.Since(m.asked) < versionAge {
		return m.kubernetes, nil
	}
	v, err := d.ServerVersion()
	if err != nil {
		return "", err
	}
	m.kubernetes, m.asked = v.GitVersion, m.clock.Now()
	return m.kubernetes, nil
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
