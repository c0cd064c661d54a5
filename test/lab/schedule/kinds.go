package schedule

import (
	"iter"
	"maps"
	"slices"
	"time"
)

// Kind of a fault.
type Kind string

// Faults of the API, as an agent sees it. N is how many requests of each agent are concerned.
const (
	// Conflict: writes are answered 409.
	Conflict Kind = "conflict"
	// Throttle: requests are answered 429 with Retry-After.
	Throttle Kind = "throttle"
	// Error: requests are answered 500.
	Error Kind = "error"
	// Timeout: writes end without an answer, and without effect.
	Timeout Kind = "timeout"
	// Lost: writes take effect, and their answer is lost.
	Lost Kind = "lost"
	// CutWatches: all watches break.
	CutWatches Kind = "cut-watches"
	// ExpireWatches: all watches break and cannot be resumed (410), so that everything is listed again.
	ExpireWatches Kind = "expire-watches"
	// Stale: watches deliver nothing for a while, so that caches are behind.
	Stale Kind = "stale"
)

// Faults of the agents.
const (
	// Kill: SIGKILL for the leader.
	Kill Kind = "kill"
	// KillAll: SIGKILL for every agent.
	KillAll Kind = "kill-all"
	// Pause: the leader is stopped by SIGSTOP, longer than its lease, and goes on believing that it leads.
	Pause Kind = "pause"
	// Partition: the leader cannot reach the API server.
	Partition Kind = "partition"
	// ClockForward and ClockBack: the clock of both agents jumps by N minutes, and back after For.
	ClockForward Kind = "clock-forward"
	ClockBack    Kind = "clock-back"
)

// Faults of the cluster.
const (
	// RestartAPI: the API server is killed and started again.
	RestartAPI Kind = "restart-apiserver"
	// SlowEtcd: etcd is stopped again and again for a moment.
	SlowEtcd Kind = "slow-etcd"
	// HangNew, HangOld: the istiod of that revision does not answer.
	HangNew Kind = "hang-new-istiod"
	HangOld Kind = "hang-old-istiod"
	// CutNew: nothing reaches the new istiod, its webhook included.
	CutNew Kind = "cut-new-istiod"
	// KillNew: the new istiod crashes.
	KillNew Kind = "kill-new-istiod"
)

// Edits by hand. N chooses the workload.
const (
	// StripHandover: the old revision's webhook configuration is written without the entries of Meshlift, as by a re-install.
	StripHandover Kind = "strip-handover"
	// DeleteGuards: bindings and policies are deleted.
	DeleteGuards Kind = "delete-guards"
	// StripLabel: a pod template is written without the label of the move, as GitOps would.
	StripLabel Kind = "strip-label"
	// EditTemplate: the owner of a workload changes its pod template: one restart that is not ours.
	EditTemplate Kind = "edit-template"
	// DeletePods: all pods of a workload are deleted.
	DeletePods Kind = "delete-pods"
	// ScaleWorkload: one replica more.
	ScaleWorkload Kind = "scale"
	// DeleteWorkload: the workload goes.
	DeleteWorkload Kind = "delete-workload"
	// DeleteNamespace: a namespace with workloads goes while they move.
	DeleteNamespace Kind = "delete-namespace"
	// PauseUpgrade, PauseRollout: the object is paused and resumed.
	PauseUpgrade Kind = "pause-upgrade"
	PauseRollout Kind = "pause-rollout"
	// DeleteRollout: the rollout that goes on is deleted; the person starts another.
	DeleteRollout Kind = "delete-rollout"
	// Withdraw: the decommission is withdrawn, and asked for again.
	Withdraw Kind = "withdraw"
	// NewEnvoyFilter: somebody creates an EnvoyFilter, acknowledges it after a while, and deletes it.
	NewEnvoyFilter Kind = "new-envoyfilter"
	// ScaleNewToZero: somebody scales the new istiod to zero.
	ScaleNewToZero Kind = "scale-new-to-zero"
)

// kind says how often a fault is drawn and between which bounds.
type kind struct {
	weight            int
	maxN              int
	shortest, longest time.Duration
	// earliest is the number of changes before which it would have no object.
	earliest int
}

var kinds = map[Kind]kind{
	Conflict: {weight: 4, maxN: 12}, Throttle: {weight: 2, maxN: 6}, Error: {weight: 5, maxN: 12}, Timeout: {weight: 3, maxN: 5}, Lost: {weight: 6, maxN: 8},
	CutWatches: {weight: 3}, ExpireWatches: {weight: 3}, Stale: {weight: 5, shortest: 500 * time.Millisecond, longest: 3 * time.Second},

	Kill: {weight: 6}, KillAll: {weight: 3}, Pause: {weight: 4, shortest: 2500 * time.Millisecond, longest: 4 * time.Second},
	Partition:    {weight: 4, shortest: time.Second, longest: 4 * time.Second},
	ClockForward: {weight: 2, maxN: 30, shortest: time.Second, longest: 3 * time.Second}, ClockBack: {weight: 2, maxN: 30, shortest: time.Second, longest: 3 * time.Second},

	RestartAPI: {weight: 2}, SlowEtcd: {weight: 2, shortest: time.Second, longest: 4 * time.Second},
	HangNew: {weight: 2, shortest: time.Second, longest: 4 * time.Second, earliest: 12}, HangOld: {weight: 1, shortest: time.Second, longest: 3 * time.Second},
	CutNew: {weight: 2, shortest: time.Second, longest: 4 * time.Second, earliest: 12}, KillNew: {weight: 3, earliest: 12},

	StripHandover: {weight: 3, earliest: 28}, DeleteGuards: {weight: 3, earliest: 26}, StripLabel: {weight: 3, maxN: 4, earliest: 32}, EditTemplate: {weight: 3, maxN: 4},
	DeletePods: {weight: 4, maxN: 4}, ScaleWorkload: {weight: 2, maxN: 4}, DeleteWorkload: {weight: 2, maxN: 4}, DeleteNamespace: {weight: 2},
	PauseUpgrade: {weight: 2, shortest: 500 * time.Millisecond, longest: 2 * time.Second}, PauseRollout: {weight: 2, shortest: 500 * time.Millisecond, longest: 2 * time.Second, earliest: 26},
	ScaleNewToZero: {weight: 2, earliest: 14}, DeleteRollout: {weight: 2, earliest: 28}, Withdraw: {weight: 3, shortest: 200 * time.Millisecond, longest: 2 * time.Second, earliest: 88},
	NewEnvoyFilter: {weight: 2, shortest: 200 * time.Millisecond, longest: 2 * time.Second, earliest: 20},
}

// inOrder returns the kinds by name: the order must not change from run to run.
func inOrder() iter.Seq2[Kind, kind] {
	return func(yield func(Kind, kind) bool) {
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			if !yield(k, kinds[k]) {
				return
			}
		}
	}
}

// Kinds returns every kind, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(kinds)) }
