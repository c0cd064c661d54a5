package rollout

import (
	"math"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Limits are what may be in motion at the same time; 0 means no limit.
type Limits struct {
	Workloads, PerNamespace, Pods int32
}

// LimitsOf resolves the limits of a spec for a rollout that has so many pods.
func LimitsOf(spec *v1alpha1.DataPlaneRolloutSpec, pods int32) Limits {
	return Limits{Workloads: spec.Workloads(), PerNamespace: spec.ParallelismPerNamespace, Pods: podBudget(spec.MaxPods, pods)}
}

// podBudget resolves a number or a percentage, which is rounded down to at least one. What cannot be read is the strictest
// limit, never none.
func podBudget(v *intstr.IntOrString, pods int32) int32 {
	if v == nil {
		return 0
	}
	if v.Type == intstr.Int {
		return max(1, v.IntVal)
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	if err != nil || percent < 1 || percent > 100 {
		return 1
	}
	return int32(max(1, int64(pods)*int64(percent)/100)) // #nosec G115 -- at most pods
}

// motion is what moves at the same time.
type motion struct {
	workloads, pods int32
	namespaces      map[string]int32
}

func (m *motion) add(w mesh.Workload) {
	m.workloads++
	m.pods = sum(m.pods, w.Desired)
	if m.namespaces == nil {
		m.namespaces = map[string]int32{}
	}
	m.namespaces[w.Namespace]++
}

// remove takes out what was added. A sum that was cut stays too high, so that nothing starts too early.
func (m *motion) remove(w mesh.Workload) {
	m.workloads--
	m.pods = max(0, m.pods-max(0, w.Desired))
	m.namespaces[w.Namespace]--
}

// sum adds pods without overflow: anybody may ask for 2^31-1 replicas.
func sum(pods, more int32) int32 {
	return int32(min(int64(pods)+int64(max(0, more)), math.MaxInt32)) // #nosec G115 -- bounded
}

// room is the answer of limits to one more workload.
type room int

const (
	// fits: it may start.
	fits room = iota
	// later: not now, but one of another namespace may.
	later
	// full: nothing may start now. A large workload is not overtaken by small ones, which could go on for ever.
	full
)

// admit tells whether one more workload may start moving. One that has more pods than the budget moves alone.
func (l Limits) admit(m motion, w mesh.Workload) room {
	switch {
	case l.Workloads > 0 && m.workloads >= l.Workloads:
		return full
	case l.PerNamespace > 0 && m.namespaces[w.Namespace] >= l.PerNamespace:
		return later
	case l.Pods > 0 && m.pods > 0 && int64(m.pods)+int64(w.Desired) > int64(l.Pods):
		return full
	}
	return fits
}
