package component

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/olm"
)

// jobLimit ends the actions of one pass; a hook of a chart may take some minutes.
const jobLimit = 15 * time.Minute

// begin does actions in the background, because a hook of a chart can take minutes; no worker waits for one cluster. One job at a
// time runs for a cluster, and none begins on what was seen before the last one ended. A job that dies with its process is
// found half-way by the next one.
func (r *Reconciler) begin(ctx context.Context, mc *hub.MemberCluster, seen int, s *site, actions []component.Action) {
	if !r.jobs.begin(mc.Name, seen) {
		return
	}
	log := ctrl.LoggerFrom(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobLimit)
	go func() {
		defer cancel()
		defer r.jobs.end(mc.Name)
		for _, a := range actions {
			err := act(ctx, s, a)
			if err != nil {
				log.Error(err, string(a.Kind), "component", a.Component)
			}
			r.troubles.set(mc, a.Component, err)
		}
	}()
}

// act does one action.
func act(ctx context.Context, s *site, a component.Action) error {
	switch a.Kind {
	case component.Upgrade:
		crds, err := s.helm.CRDs(ctx, a.Release.Source)
		if err != nil {
			return err
		}
		for _, crd := range crds {
			if err := s.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(hub.FieldManager), client.ForceOwnership); err != nil {
				return fmt.Errorf("apply %s %q of chart %s: %w", crd.GetKind(), crd.GetName(), a.Release.Source.Name, err)
			}
		}
		return s.helm.Apply(ctx, a.Release)
	case component.RollBack:
		return s.helm.RollBack(ctx, a.Release)
	case component.SetChannel:
		return olm.SetChannel(ctx, s.client, a.Namespace, a.Name, a.Channel)
	case component.Approve:
		return olm.Approve(ctx, s.client, a.Namespace, a.Name, a.CSV)
	}
	return fmt.Errorf("%s: it is not known how", a.Kind)
}

// wake asks for a pass over a cluster; when one is asked for already, the next look comes soon anyway.
func (j *jobs) wake(cluster string) {
	m := &hub.MemberCluster{}
	m.Name = cluster
	select {
	case j.events <- event.GenericEvent{Object: m}:
	default:
	}
}
