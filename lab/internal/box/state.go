package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// Files of a lab's state directory.
const (
	stateFile   = "state.json"
	optionsFile = "options.json"
	logFile     = "supervisor.log"
	socketFile  = "exec.sock"
)

// ErrNotRunning says that there is no such lab.
var ErrNotRunning = errors.New("the lab is not running")

// State describes a running lab.
type State struct {
	Name     string    `json:"name"`
	Dir      string    `json:"dir"`
	PID      int       `json:"pid"`       // of the supervisor
	Born     uint64    `json:"born"`      // start time of that process, which makes the PID unmistakable
	Started  time.Time `json:"started"`   // when `lab up` was called
	ReadyIn  float64   `json:"readyIn"`   // seconds from start to ready
	Charts   string    `json:"charts"`    // Helm repository for the host
	ChartsIn string    `json:"chartsIn"`  // Helm repository within the lab and its pods
	Istio    []string  `json:"istio"`     // versions in the chart repository
	Install  string    `json:"installed"` // Istio version that was installed at start
	Clusters []Cluster `json:"clusters"`
}

// Cluster describes one cluster of a running lab.
type Cluster struct {
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`       // for the host
	Inside     string `json:"insideKubeconfig"` // for processes in the lab
	Server     string `json:"server"`           // URL of the API server for the host
	Bare       bool   `json:"bare,omitempty"`
}

// Load returns the state of a running lab, or ErrNotRunning.
func Load(dir layout.Dir, name string) (*State, error) {
	s, err := read(dir.Run(name))
	if err != nil {
		return nil, err
	}
	if s == nil || !s.alive() {
		return nil, fmt.Errorf("%w: %s (start it with `lab up --name %s`)", ErrNotRunning, name, name)
	}
	return s, nil
}

// read returns the state in a directory, nil when there is none.
func read(run string) (*State, error) {
	b, err := os.ReadFile(filepath.Join(run, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	s := &State{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("state in %s: %w", run, err)
	}
	return s, nil
}

func (s *State) save() error {
	return writeJSON(filepath.Join(s.Dir, stateFile), s)
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := os.WriteFile(path+".tmp", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func (s *State) alive() bool {
	born, err := birth(s.PID)
	return err == nil && born == s.Born
}

// Cluster returns the cluster of the given name, the first one for "".
func (s *State) Cluster(name string) (Cluster, error) {
	var names []string
	for _, c := range s.Clusters {
		if c.Name == name || name == "" {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Cluster{}, fmt.Errorf("no cluster %q in the lab %s, which has %s", name, s.Name, strings.Join(names, ", "))
}

// birth returns the start time of a living process in clock ticks since boot. A zombie does not live.
func birth(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name in parentheses may contain anything: fields are counted from its end.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const state, startTime = 0, 19
	if len(fields) <= startTime || fields[state] == "Z" || fields[state] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[startTime], 10, 64)
}
