package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is what the processes of one component have used.
type usage struct {
	cpu time.Duration
	// rss is the memory that is resident now, file the part of it that is the program itself, peak the most that ever was, all of
	// the largest process, in bytes.
	rss, file, peak int64
}

// tick is the unit of CPU times in /proc on Linux (USER_HZ), which is 100 on every architecture that Go supports.
const tick = 10 * time.Millisecond

// processes returns the usage of every process of a lab, by component: those that the supervisor started, and what they
// started.
func processes(runDir string) (map[string]usage, error) {
	b, err := os.ReadFile(filepath.Join(runDir, "state.json"))
	if err != nil {
		return nil, fmt.Errorf("read the state of the lab: %w", err)
	}
	var state struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return nil, fmt.Errorf("read the state of the lab: %w", err)
	}
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if s, ok := stat(pid); ok {
				children[s.parent] = append(children[s.parent], pid)
			}
		}
	}
	out := map[string]usage{}
	for todo := []int{state.PID}; len(todo) > 0; {
		pid := todo[0]
		todo = append(todo[1:], children[pid]...)
		s, ok := stat(pid)
		if !ok {
			continue // it has ended meanwhile
		}
		name := component(pid)
		u := out[name]
		u.cpu += s.cpu
		u.rss, u.file, u.peak = max(u.rss, memory(pid, "VmRSS:")), max(u.file, memory(pid, "RssFile:")), max(u.peak, memory(pid, "VmHWM:"))
		out[name] = u
	}
	return out, nil
}

type procStat struct {
	parent int
	cpu    time.Duration
}

// stat reads /proc/PID/stat (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html).
func stat(pid int) (procStat, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, false
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // the name may hold blanks
	if len(fields) < 13 {
		return procStat{}, false
	}
	number := func(n int) int { v, _ := strconv.Atoi(fields[n]); return v }
	return procStat{parent: number(1), cpu: time.Duration(number(11)+number(12)) * tick}, true
}

// component names a process after its program: the agent, an istiod, a part of the control plane, or the lab itself.
func component(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "?"
	}
	args := strings.Split(string(b), "\x00")
	switch program := filepath.Base(args[0]); {
	case program == "kube" && len(args) > 1:
		return args[1]
	case program == "asm-controller":
		return "agent"
	case program == "pilot-discovery":
		return "istiod"
	default:
		return program
	}
}

func memory(pid int, key string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// spent is the CPU that each component used between two looks, the largest first.
func spent(before, after map[string]usage) []share {
	var out []share
	for name, u := range after {
		if d := u.cpu - before[name].cpu; d > 0 {
			out = append(out, share{name, d})
		}
	}
	slices.SortFunc(out, func(a, b share) int { return cmp.Or(cmp.Compare(b.cpu, a.cpu), cmp.Compare(a.component, b.component)) })
	return out
}

type share struct {
	component string
	cpu       time.Duration
}
