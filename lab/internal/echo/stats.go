package echo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// StatsDirEnv names the directory in which a client keeps its counts, one file <pod>.json per client pod.
const StatsDirEnv = "LAB_STATS_DIR"

// maxFailures bounds how many single failures are kept.
const maxFailures = 20

// Stats are the counts of one client pod, over all restarts of its container.
type Stats struct {
	Identity
	Target     string           `json:"target"`
	Started    time.Time        `json:"started"`
	Updated    time.Time        `json:"updated"`
	Ended      bool             `json:"ended"`      // the client said good-bye
	Containers int              `json:"containers"` // how many times the client was started in this pod
	Waited     int64            `json:"waited"`     // attempts before the first answer, not counted as calls
	Calls      int64            `json:"calls"`
	OK         int64            `json:"ok"`
	Failed     int64            `json:"failed"`
	Reasons    map[string]int64 `json:"reasons,omitempty"`   // failed calls by reason
	ServedBy   map[string]int64 `json:"servedBy,omitempty"`  // good calls by server pod
	Versions   map[string]int64 `json:"versions,omitempty"`  // good calls by the server's version label
	Revisions  map[string]int64 `json:"revisions,omitempty"` // good calls by the revision of the server's control plane
	Auth       map[string]int64 `json:"auth,omitempty"`      // good calls by authentication: tls or plaintext
	First      int64            `json:"firstMillis"`         // how long the latest container waited for its first answer
	MaxMillis  int64            `json:"maxMillis"`           // slowest good call after that
	Failures   []Failure        `json:"failures,omitempty"`  // the latest ones
}

// Failure is one failed call.
type Failure struct {
	Time   time.Time `json:"time"`
	Millis int64     `json:"millis"`
	Reason string    `json:"reason"`
}

// answer is the outcome of one call.
type answer struct {
	took                            time.Duration
	first                           bool   // it includes the wait for a connection
	reason                          string // of a failure; empty for a good call
	server, version, revision, auth string
}

// counter counts calls and keeps the counts in a file.
type counter struct {
	path   string     // "" keeps them in memory only
	saving sync.Mutex // one writer of the file at a time

	mu    sync.Mutex
	stats Stats
}

// newCounter continues the counts of an earlier container of the same pod.
func newCounter(id Identity, target, dir string, now time.Time) (*counter, error) {
	c := &counter{stats: Stats{Identity: id, Target: target, Started: now}}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("counts: %w", err)
		}
		c.path = filepath.Join(dir, id.Pod+".json")
		earlier, err := ReadStats(c.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			c.stats = earlier
			c.stats.Identity, c.stats.Target, c.stats.Ended = id, target, false
		}
	}
	c.stats.Containers++
	for _, m := range []*map[string]int64{&c.stats.Reasons, &c.stats.ServedBy, &c.stats.Versions, &c.stats.Revisions, &c.stats.Auth} {
		if *m == nil {
			*m = map[string]int64{}
		}
	}
	return c, c.save(now)
}

// ReadStats reads the counts of one client pod.
func ReadStats(path string) (Stats, error) {
	var s Stats
	b, err := os.ReadFile(path)
	if err != nil {
		return s, fmt.Errorf("counts: %w", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("counts %s: %w", path, err)
	}
	return s, nil
}

// wait counts an attempt without answer before the first good call.
func (c *counter) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Waited++
}

// add counts a call.
func (c *counter) add(a answer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
	s.Calls++
	if a.reason != "" {
		s.Failed++
		s.Reasons[a.reason]++
		s.Failures = append(s.Failures, Failure{Time: now, Millis: a.took.Milliseconds(), Reason: a.reason})
		if len(s.Failures) > maxFailures {
			s.Failures = s.Failures[len(s.Failures)-maxFailures:]
		}
		return
	}
	s.OK++
	if a.first {
		s.First = a.took.Milliseconds()
	} else {
		s.MaxMillis = max(s.MaxMillis, a.took.Milliseconds())
	}
	for _, by := range []struct {
		counts map[string]int64
		key    string
	}{{s.ServedBy, a.server}, {s.Versions, a.version}, {s.Revisions, a.revision}, {s.Auth, a.auth}} {
		if by.key != "" {
			by.counts[by.key]++
		}
	}
}

// end marks the counts as final.
func (c *counter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Ended = true
}

// encode returns the counts as JSON.
func (c *counter) encode(now time.Time) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Updated = now
	b, err := json.Marshal(c.stats)
	if err != nil {
		return nil, fmt.Errorf("counts: %w", err)
	}
	return b, nil
}

// save writes the counts to the file, if there is one; a reader sees the old or the new ones, never a part.
func (c *counter) save(now time.Time) error {
	if c.path == "" {
		return nil
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	b, err := c.encode(now)
	if err != nil {
		return err
	}
	partial := c.path + ".partial"
	if err := os.WriteFile(partial, b, 0o644); err != nil {
		return fmt.Errorf("counts: %w", err)
	}
	if err := os.Rename(partial, c.path); err != nil {
		return fmt.Errorf("counts: %w", err)
	}
	return nil
}

// line is a summary for the log.
func (c *counter) line() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.stats
	return fmt.Sprintf("calls %d ok %d failed %d served-by %v revisions %v auth %v reasons %v",
		s.Calls, s.OK, s.Failed, s.ServedBy, s.Revisions, s.Auth, s.Reasons)
}
