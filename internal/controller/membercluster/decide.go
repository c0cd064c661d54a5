package membercluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/member"
	"meshlift.dev/meshlift/internal/status"
)

// facts are what one look at a cluster found.
type facts struct {
	now        time.Time
	connection member.State
	// agent is its Deployment, nil when there is none; agentErr why that is not known.
	agent    *appsv1.Deployment
	agentErr error
	// controlPlane and upgrades of the cluster; objectsErr why they are not known.
	controlPlane *v1alpha1.ControlPlane
	upgrades     []v1alpha1.ClusterUpgrade
	objectsErr   error
}

// decide returns the status as it should be. What was known of a cluster stays while it does not answer.
func decide(m *hub.MemberCluster, f facts) hub.MemberClusterStatus {
	s := *m.Status.DeepCopy()
	s.ObservedGeneration = m.Generation
	connection(m, f, &s)
	if f.connection.Connected {
		if f.connection.Kubernetes != "" {
			s.KubernetesVersion = f.connection.Kubernetes
		}
		if f.agentErr == nil {
			s.AgentVersion = agentVersion(f.agent)
		}
		if f.objectsErr == nil {
			objects(f, &s)
		}
	}
	setAgent(m, f, &s)
	setReady(m, f, &s)
	return s
}

func connection(m *hub.MemberCluster, f facts, s *hub.MemberClusterStatus) {
	c := f.connection
	was := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionConnected)
	if c.Server != "" {
		s.Connection.Server = c.Server
	}
	switch {
	case c.Connected:
		back := was != nil && was.Status == metav1.ConditionFalse
		if back {
			s.Connection.Reconnects++
		}
		if last := s.Connection.LastContact; last == nil || back || c.LastContact.Sub(last.Time) >= perMinute {
			s.Connection.LastContact = &metav1.Time{Time: c.LastContact.Truncate(time.Second)}
		}
		set(s, m, hub.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonDone, "the API server answers")
	case c.Asked:
		if !c.LastContact.IsZero() && (was == nil || was.Status == metav1.ConditionTrue) {
			s.Connection.LastContact = &metav1.Time{Time: c.LastContact.Truncate(time.Second)}
		}
		set(s, m, hub.ConditionConnected, metav1.ConditionFalse, c.Reason, c.Message)
	case was == nil:
		set(s, m, hub.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonInProgress, "the hub asks the API server for the first time")
	} // a hub that has just begun keeps what another one found until it knows better
}

func set(s *hub.MemberClusterStatus, m *hub.MemberCluster, kind string, value metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{Type: kind, Status: value, ObservedGeneration: m.Generation, Reason: reason, Message: status.Clip(message, 32768)})
}

// agentVersion is the one that the chart writes, else the tag of the image.
func agentVersion(d *appsv1.Deployment) string {
	if d == nil {
		return ""
	}
	if v := d.Labels["app.kubernetes.io/version"]; v != "" {
		return v
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		image, _, _ := strings.Cut(c.Image, "@")
		if at := strings.LastIndexByte(image, ':'); c.Name == agentDeployment && at > strings.LastIndexByte(image, '/') {
			return image[at+1:]
		}
	}
	return ""
}

func objects(f facts, s *hub.MemberClusterStatus) {
	s.IstioVersions, s.Revisions = "", nil
	if cp := f.controlPlane; cp != nil {
		s.IstioVersions = cp.Status.IstioVersions
		for _, r := range cp.Status.Revisions {
			s.Revisions = append(s.Revisions, hub.RevisionSummary{
				RevisionRef: v1alpha1.RevisionRef{Revision: r.Name, Version: r.Version}, Sidecars: r.Sidecars, Gateways: r.Gateways, UpgradeTo: slices.Clone(r.UpgradeTo),
			})
		}
	}
	s.Upgrade = fleet.Upgrade(f.upgrades).DeepCopy()
}

func setAgent(m *hub.MemberCluster, f facts, s *hub.MemberClusterStatus) {
	where := fmt.Sprintf("Deployment %s/%s of cluster %q", agentNamespace(m), agentDeployment, m.Name)
	value, reason, message := metav1.ConditionFalse, hub.ReasonNoAgent, ""
	switch {
	case !f.connection.Asked:
		if meta.FindStatusCondition(s.Conditions, hub.ConditionAgentReady) != nil {
			return
		}
		value, reason, message = metav1.ConditionUnknown, v1alpha1.ReasonInProgress, "the hub asks the cluster for the first time"
	case !f.connection.Connected:
		value, reason, message = metav1.ConditionUnknown, hub.ReasonNotConnected, fmt.Sprintf("cluster %q is not connected; its agent goes on without the hub", m.Name)
	case f.agentErr != nil:
		value, reason, message = metav1.ConditionUnknown, v1alpha1.ReasonError, fmt.Sprintf("%s cannot be read: %v", where, f.agentErr)
	case f.agent == nil:
		message = fmt.Sprintf("there is no %s: install the agent with `meshlift cluster add %s`", where, m.Name)
	case f.agent.Status.ReadyReplicas == 0:
		message = fmt.Sprintf("no replica of %s is ready: look at its pods", where)
	case f.objectsErr != nil:
		value, reason, message = metav1.ConditionUnknown, v1alpha1.ReasonError, f.objectsErr.Error()
	case f.controlPlane == nil:
		message = fmt.Sprintf("the agent of cluster %q runs and has not made its ControlPlane yet", m.Name)
	default:
		value, reason, message = metav1.ConditionTrue, v1alpha1.ReasonDone, fmt.Sprintf("the agent runs, version %s", orUnknown(s.AgentVersion))
	}
	set(s, m, hub.ConditionAgentReady, value, reason, message)
}

func orUnknown(v string) string {
	if v == "" {
		return "unknown"
	}
	return v
}

// setReady says the first thing that matters: the connection, the agent, the upgrade, the istiods.
func setReady(m *hub.MemberCluster, f facts, s *hub.MemberClusterStatus) {
	for _, kind := range []string{hub.ConditionConnected, hub.ConditionAgentReady} {
		if c := meta.FindStatusCondition(s.Conditions, kind); c != nil && c.Status != metav1.ConditionTrue {
			set(s, m, hub.ConditionReady, metav1.ConditionFalse, c.Reason, c.Message)
			return
		}
	}
	if u := s.Upgrade; u != nil {
		if c := meta.FindStatusCondition(u.Conditions, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
			set(s, m, hub.ConditionReady, metav1.ConditionFalse, c.Reason, fmt.Sprintf("upgrade to %s: %s", u.Version, c.Message))
			return
		}
	}
	if f.controlPlane != nil {
		if c := meta.FindStatusCondition(f.controlPlane.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
			set(s, m, hub.ConditionReady, metav1.ConditionFalse, c.Reason, c.Message)
			return
		}
	}
	if f.connection.Connected {
		set(s, m, hub.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDone, "connected, and nothing needs attention")
	}
}

// ours are the conditions that this controller owns.
func ours(all []metav1.Condition) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(all), func(c metav1.Condition) bool {
		return !slices.Contains([]string{hub.ConditionConnected, hub.ConditionAgentReady, hub.ConditionReady}, c.Type)
	})
}

// told is an event.
type told struct{ kind, reason, message string }

// event tells of a connection that was made, lost, or came back.
func event(before, after []metav1.Condition) *told {
	was, is := meta.FindStatusCondition(before, hub.ConditionConnected), meta.FindStatusCondition(after, hub.ConditionConnected)
	switch {
	case is == nil || was != nil && was.Status == is.Status:
		return nil
	case is.Status == metav1.ConditionFalse:
		return &told{corev1.EventTypeWarning, "Disconnected", is.Message}
	case is.Status == metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionFalse:
		return &told{corev1.EventTypeNormal, "Reconnected", fmt.Sprintf("the API server answers again; it was away since %s", was.LastTransitionTime.UTC().Format(time.RFC3339))}
	case is.Status == metav1.ConditionTrue:
		return &told{corev1.EventTypeNormal, "Connected", is.Message}
	}
	return nil
}
