package kubelet

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// reportChanges tells the API server the pod's status after each change, until ctx ends.
func (p *pod) reportChanges(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.dirty:
			p.report(ctx)
		}
	}
}

// report brings the status to the API server, unless the pod is gone.
func (p *pod) report(ctx context.Context) {
	p.reporting.Lock()
	defer p.reporting.Unlock()
	for ctx.Err() == nil {
		err := p.reportOnce(ctx)
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		if ctx.Err() == nil {
			p.log.Warn("cannot report the pod's status", "error", err)
		}
		sleep(ctx, apiRetry)
	}
}

func (p *pod) reportOnce(ctx context.Context) error {
	p.mu.Lock()
	object, gone := p.object, p.gone
	status := p.status()
	p.mu.Unlock()
	if gone || equality.Semantic.DeepEqual(object.Status, status) {
		return nil
	}
	patch, err := statusPatch(object, status)
	if err != nil {
		return err
	}
	updated, err := p.k.client.CoreV1().Pods(object.Namespace).
		Patch(ctx, object.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("patch status: %w", err)
	}
	p.adopt(updated)
	return nil
}

// statusPatch is the difference between the status in object and the wanted one.
func statusPatch(object *corev1.Pod, status corev1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(corev1.Pod{Status: object.Status})
	if err != nil {
		return nil, fmt.Errorf("status patch: %w", err)
	}
	// The UID makes the API server refuse the patch if another pod has this name by now.
	after, err := json.Marshal(corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: object.UID}, Status: status})
	if err != nil {
		return nil, fmt.Errorf("status patch: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("status patch: %w", err)
	}
	return patch, nil
}

// status is the pod's status as of now; the pod's mutex is held.
func (p *pod) status() corev1.PodStatus {
	s := *p.object.Status.DeepCopy()
	s.ObservedGeneration = p.object.Generation
	s.InitContainerStatuses, s.ContainerStatuses = nil, nil
	for _, c := range p.containers {
		if c.kind == appContainer {
			s.ContainerStatuses = append(s.ContainerStatuses, c.status(&p.object.Spec.Containers[c.index]))
		} else {
			s.InitContainerStatuses = append(s.InitContainerStatuses, c.status(&p.object.Spec.InitContainers[c.index]))
		}
	}
	started := metav1.NewTime(p.started).Rfc3339Copy()
	s.StartTime = &started
	s.HostIP = p.k.Network.Gateway().String()
	s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	if p.ip.IsValid() {
		s.PodIP = p.ip.String()
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	}
	s.Phase = p.phase()
	s.Reason, s.Message = "", ""
	if p.failure != nil {
		s.Reason, s.Message = p.failure.reason, p.failure.message
	}
	p.setConditions(&s)
	return s
}

// phase follows the rules of a real kubelet; the pod's mutex is held.
func (p *pod) phase() corev1.PodPhase {
	if p.failure != nil && p.ended {
		return corev1.PodFailed
	}
	var fresh, active, failed int
	apps := 0
	for _, c := range p.containers {
		if c.kind != appContainer {
			continue
		}
		apps++
		switch {
		case c.state.Running != nil:
			active++
		case c.state.Terminated != nil && c.state.Terminated.ExitCode != 0:
			failed++
		case c.state.Waiting != nil && c.last.Terminated == nil:
			fresh++
		case c.state.Waiting != nil:
			active++ // about to be restarted
		}
	}
	switch {
	case p.ended && fresh == 0 && failed > 0:
		return corev1.PodFailed
	case p.ended && fresh == 0:
		return corev1.PodSucceeded
	case p.ended:
		return corev1.PodFailed
	case !p.initDone || fresh > 0:
		return corev1.PodPending
	}
	return corev1.PodRunning
}

// setConditions sets the conditions that are the kubelet's; the pod's mutex is held.
func (p *pod) setConditions(s *corev1.PodStatus) {
	var unready, unstarted []string
	for _, c := range p.containers {
		switch {
		case c.kind == initContainer:
		case !c.ready:
			unready = append(unready, c.name)
		}
		if c.kind != appContainer && !p.initDone {
			unstarted = append(unstarted, c.name)
		}
	}
	set := func(kind corev1.PodConditionType, ok bool, reason, message string) {
		setCondition(s, p.object.Generation, kind, ok, reason, message)
	}
	done := finished(s.Phase)
	ready := p.initDone && len(unready) == 0 && !p.ended
	reason, message := "ContainersNotReady", fmt.Sprintf("containers with unready status: %v", unready)
	if done {
		reason, message = "PodCompleted", ""
		if s.Phase == corev1.PodFailed {
			reason = "PodFailed"
		}
	}
	set(corev1.PodReadyToStartContainers, p.sandbox, "", "")
	set(corev1.PodInitialized, p.initDone || s.Phase == corev1.PodSucceeded, "ContainersNotInitialized",
		fmt.Sprintf("containers with incomplete status: %v", unstarted))
	set(corev1.ContainersReady, ready, reason, message)
	if gate := openGate(p.object.Spec.ReadinessGates, s.Conditions); ready && gate != "" {
		ready, reason = false, "ReadinessGatesNotReady"
		message = fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist or isn't True", gate)
	}
	set(corev1.PodReady, ready, reason, message)
}

// openGate returns the first readiness gate that isn't passed.
func openGate(gates []corev1.PodReadinessGate, conditions []corev1.PodCondition) string {
	for _, g := range gates {
		passed := false
		for _, c := range conditions {
			passed = passed || c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !passed {
			return string(g.ConditionType)
		}
	}
	return ""
}

func setCondition(s *corev1.PodStatus, generation int64, kind corev1.PodConditionType, ok bool, reason, message string) {
	want := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, ObservedGeneration: generation, LastTransitionTime: metav1.Now().Rfc3339Copy()}
	if !ok {
		want.Status, want.Reason, want.Message = corev1.ConditionFalse, reason, message
	}
	for i, c := range s.Conditions {
		if c.Type != kind {
			continue
		}
		if c.Status == want.Status {
			want.LastTransitionTime = c.LastTransitionTime
		}
		want.LastProbeTime = c.LastProbeTime
		s.Conditions[i] = want
		return
	}
	s.Conditions = append(s.Conditions, want)
}
