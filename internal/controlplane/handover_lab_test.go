package controlplane_test

import (
	"maps"
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/routing"
)

func TestAHandoverStaysWholeThroughTheSwitchOverAndGoesWithoutATrace(t *testing.T) {
	for _, how := range installations() {
		t.Run(how.name, func(t *testing.T) {
			l := newLab(t)
			ctx := t.Context()
			how.install(t, l)
			for name, labels := range how.namespaces {
				l.namespace(t, name, labels)
			}
			if _, err := l.service.Install(ctx, l.plan(how.revision)); err != nil {
				t.Fatal(err)
			}
			l.ready(t, "1-31")
			from, to := mesh.Revision{Name: how.revision, Version: "1.30.0", Deployment: "istiod-" + how.revision}, mesh.Revision{Name: "1-31", Version: "1.31.0", Deployment: "istiod-1-31"}
			if how.revision == mesh.DefaultRevision {
				from.Deployment = "istiod"
			}
			router := &routing.Router{Live: l, Writer: l, Namespace: istioSystem}
			if _, err := router.Establish(ctx, from, to); err != nil {
				t.Fatal(err)
			}
			moved := map[string]map[string]string{}
			for name, labels := range how.pods {
				moved[name] = maps.Clone(labels)
				if moved[name] == nil {
					moved[name] = map[string]string{}
				}
				moved[name][v1alpha1.RevisionLabel] = "1-31"
			}
			// The write of a webhook configuration takes some milliseconds to reach admission.
			for name := range how.pods {
				l.eventually(t, "handover in "+name, func() (bool, string) {
					got, err := l.injected(ctx, name, moved[name])
					return err == nil && got == "1-31", got
				})
				l.wantInjected(t, name, how.pods[name], how.revision)
			}
			stop := l.watch(t, from.Name, to.Name, how.pods)
			stopMoved := l.watch(t, to.Name, to.Name, moved)
			steps := []struct {
				name string
				do   func() error
			}{
				{"switch over", func() error { return l.service.SwitchOver(ctx, from, to) }},
				{"the handover is kept up", func() error { _, err := router.Establish(ctx, from, to); return err }},
				{"the handover is removed", func() error { return router.Remove(ctx) }},
				{"scale down", func() error { _, err := l.service.ScaleDown(ctx, from); return err }},
				{"uninstall", func() error { return l.service.Uninstall(ctx, from.Name) }},
			}
			for _, step := range steps {
				if err := step.do(); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
			}
			for what, end := range map[string]func() ([]string, int){"not moved": stop, "moved": stopMoved} {
				bad, n := end()
				if len(bad) > 0 {
					t.Errorf("%d of %d pods that had %s were not injected by exactly one revision: %q", len(bad), n, what, bad[:min(len(bad), 5)])
				}
				t.Logf("%d pods that had %s", n, what)
			}
			if present, err := router.Present(ctx, true); err != nil || present {
				t.Errorf("a part of the handover is left: %v, %v", present, err)
			}
			for name := range how.pods {
				l.wantInjected(t, name, how.pods[name], "1-31")
				l.wantInjected(t, name, moved[name], "1-31")
			}
		})
	}
}
