package cluster

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/follow"
)

// connected waits until the hub is connected, and the agent reports if it has to, and says what is in the way meanwhile.
func connected(ctx context.Context, e *env.Env, c client.WithWatch, name string, agent bool, timeout time.Duration) error {
	wait, cancel := env.Deadline(ctx, timeout)
	defer cancel()
	said, last := "", unseen
	for u := range follow.Object(wait, c, &hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}, &hub.MemberClusterList{}, e.Resync) {
		switch {
		case u.Gone:
			return fmt.Errorf("wait for cluster %q: %w", name, errGone)
		case u.Fatal:
			return hubError(e, u.Err)
		case u.Err != nil:
			last = u.Err.Error()
			continue
		}
		missing := obstacle(u.Object, agent)
		if missing == "" {
			s := u.Object.Status
			_, err := fmt.Fprintf(e.Out, "The hub is connected with %s (%s): Kubernetes %s, Istio %s, agent %s.\n", name, s.Connection.Server, orNone(s.KubernetesVersion), orNone(s.IstioVersions), orNone(s.AgentVersion))
			return err
		}
		if last = missing; last != said {
			said = last
			if _, err := fmt.Fprintf(e.ErrOut, "Waiting: %s\n", last); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return exit.Unfinishedf("cluster %q is registered; not waited for the connection any more: see %q", name, e.Program+" cluster list")
	}
	if last == unseen {
		last += ": is it running?"
	}
	return exit.Unfinishedf("cluster %q is registered, but after %s: %s", name, timeout, last)
}

const unseen = "the hub has not looked at the cluster yet"

// obstacle is why a cluster is not ready for work; "" when it is.
func obstacle(m *hub.MemberCluster, agent bool) string {
	kinds := []string{hub.ConditionConnected}
	if agent {
		kinds = append(kinds, hub.ConditionAgentReady)
	}
	for _, kind := range kinds {
		c := meta.FindStatusCondition(m.Status.Conditions, kind)
		if c == nil {
			return unseen
		}
		if c.Status != metav1.ConditionTrue {
			return c.Message
		}
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
