package rollout

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// timeoutOf is how long a move of the workload may take: what its annotation says, else the rollout; 0 means for ever.
func timeoutOf(w mesh.Workload, rollout time.Duration) time.Duration {
	if own, err := ownTimeout(w); err == nil && own != nil {
		return *own
	}
	return max(0, rollout)
}

// ownTimeout reads the annotation of the workload; nil when there is none.
func ownTimeout(w mesh.Workload) (*time.Duration, error) {
	text := w.Annotations[v1alpha1.TimeoutAnnotation]
	if text == "" {
		return nil, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return nil, fmt.Errorf("the annotation %s of %s is %q and does not count: write a duration such as 45m", v1alpha1.TimeoutAnnotation, w.Ref, text)
	}
	return &d, nil
}
