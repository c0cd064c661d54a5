package controlplane_test

import (
	"context"
	"errors"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"meshlift.dev/meshlift/internal/controlplane"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
)

var errCrash = errors.New("crashed")

// crashing lets one write pass and fails all that follow, as a process does that is killed after it.
type crashing struct {
	controlplane.Releases
	left int
}

func (c *crashing) write() error {
	if c.left--; c.left < 0 {
		return errCrash
	}
	return nil
}

func (c *crashing) Amend(ctx context.Context, s release.Spec) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.Releases.Amend(ctx, s)
}

func (c *crashing) Uninstall(ctx context.Context, namespace, name string) error {
	if err := c.write(); err != nil {
		return err
	}
	return c.Releases.Uninstall(ctx, namespace, name)
}

// service is one process that lives for n writes.
func (l *lab) mortal(t *testing.T, n int) *controlplane.Service {
	t.Helper()
	c := &crashing{Releases: l.helm, left: n}
	inner, err := client.NewWithWatch(l.rest, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	writer := interceptor.NewClient(inner, interceptor.Funcs{
		Patch: func(ctx context.Context, w client.WithWatch, o client.Object, p client.Patch, options ...client.PatchOption) error {
			if err := c.write(); err != nil {
				return err
			}
			return w.Patch(ctx, o, p, options...)
		},
		Create: func(ctx context.Context, w client.WithWatch, o client.Object, options ...client.CreateOption) error {
			if err := c.write(); err != nil {
				return err
			}
			return w.Create(ctx, o, options...)
		},
		Delete: func(ctx context.Context, w client.WithWatch, o client.Object, options ...client.DeleteOption) error {
			if err := c.write(); err != nil {
				return err
			}
			return w.Delete(ctx, o, options...)
		},
	})
	s, err := controlplane.New(controlplane.Options{Client: writer, Releases: c, Prober: noProber{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type noProber struct{}

func (noProber) Serves(context.Context, mesh.Revision) error { return nil }

func TestACrashAfterAnyWriteOfTheSwitchOverLeavesEveryPodToOneRevision(t *testing.T) {
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
			from, to := mesh.Revision{Name: how.revision}, mesh.Revision{Name: "1-31"}
			stop := l.watch(t, from.Name, to.Name, how.pods)
			writes := 0
			for ; ; writes++ {
				err := l.mortal(t, 1).SwitchOver(ctx, from, to)
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if writes > 50 {
					t.Fatal("it never ends")
				}
			}
			if bad, n := stop(); len(bad) > 0 {
				t.Errorf("%d of %d pods were not injected by exactly one revision: %q", len(bad), n, bad[:min(len(bad), 5)])
			}
			for name, labels := range how.pods {
				l.wantInjected(t, name, labels, "1-31")
			}
			if writes < 2 {
				t.Errorf("only %d crashes: the test proves nothing", writes)
			}
			if _, err := l.service.ScaleDown(ctx, from); err != nil {
				t.Fatal(err)
			}
			for removals := 0; ; removals++ {
				err := l.mortal(t, 3).Uninstall(ctx, from.Name)
				if err == nil {
					break
				}
				if !errors.Is(err, errCrash) || removals > 50 {
					t.Fatal(err)
				}
			}
			if remaining, err := l.service.Leftovers(ctx, from.Name); err != nil || len(remaining) > 0 {
				t.Errorf("left: %q, %v", remaining, err)
			}
			for name, labels := range how.pods {
				l.wantInjected(t, name, labels, "1-31")
			}
		})
	}
}
