// Package follow shows every version of one object as it changes. It holds a watch and reads the object again from time to
// time, so a watch that is lost, refused or silent costs at most one resync; and it says when the cluster does not answer,
// and goes on.
package follow

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Update is what is known of the object now.
type Update[T client.Object] struct {
	// Object is the newest version; the zero value while it was never read, and when it is gone.
	Object T
	// Gone is true when the object does not exist (any more). It is the last update.
	Gone bool
	// Err says that the cluster did not answer; reading goes on, and the next update without an error ends the trouble.
	Err error
	// Fatal is true when reading makes no sense any more, for example without permission. It is the last update.
	Fatal bool
}

// Object follows the object with that name until the context ends or the object is gone; then the channel is closed.
// List is an empty list of the same kind.
func Object[T client.Object, L client.ObjectList](ctx context.Context, c client.WithWatch, obj T, list L, resync time.Duration) <-chan Update[T] {
	out := make(chan Update[T])
	f := &follower[T]{client: c, key: client.ObjectKeyFromObject(obj), empty: obj.DeepCopyObject().(T), list: list, out: out}
	go func() {
		defer close(out)
		f.run(ctx, resync)
	}()
	return out
}

type follower[T client.Object] struct {
	client  client.WithWatch
	key     client.ObjectKey
	empty   T
	list    client.ObjectList
	out     chan<- Update[T]
	version string
	failing bool
}

func (f *follower[T]) run(ctx context.Context, resync time.Duration) {
	ticker := time.NewTicker(resync)
	defer ticker.Stop()
	var watcher watch.Interface
	defer func() {
		if watcher != nil {
			watcher.Stop()
		}
	}()
	for {
		if !f.read(ctx) {
			return
		}
		if watcher == nil {
			watcher = f.watch(ctx)
		}
		if !f.wait(ctx, &watcher, ticker.C) {
			return
		}
	}
}

// watch returns nil when no watch can be had; the resync does the work then.
func (f *follower[T]) watch(ctx context.Context) watch.Interface {
	w, err := f.client.Watch(ctx, f.list, &client.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", f.key.Name), Namespace: f.key.Namespace,
	})
	if err != nil {
		return nil
	}
	return w
}

// wait hands on events until it is time to read again. It returns false at the end.
func (f *follower[T]) wait(ctx context.Context, watcher *watch.Interface, tick <-chan time.Time) bool {
	var events <-chan watch.Event
	if *watcher != nil {
		events = (*watcher).ResultChan()
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case event, ok := <-events:
			if !ok || event.Type == watch.Error {
				(*watcher).Stop()
				*watcher, events = nil, nil // until the next tick
				continue
			}
			obj, ok := event.Object.(T)
			if !ok || obj.GetName() != f.key.Name || obj.GetNamespace() != f.key.Namespace {
				continue
			}
			if event.Type == watch.Deleted {
				f.send(ctx, Update[T]{Gone: true})
				return false
			}
			if !f.offer(ctx, obj) {
				return false
			}
		}
	}
}

func (f *follower[T]) read(ctx context.Context) bool {
	obj := f.empty.DeepCopyObject().(T)
	err := f.client.Get(ctx, f.key, obj)
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil:
		return f.offer(ctx, obj)
	case apierrors.IsNotFound(err):
		f.send(ctx, Update[T]{Gone: true})
		return false
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), meta.IsNoMatchError(err):
		f.send(ctx, Update[T]{Err: fmt.Errorf("read %q: %w", f.key.Name, err), Fatal: true})
		return false
	default:
		f.failing = true
		return f.send(ctx, Update[T]{Err: fmt.Errorf("read %q: %w", f.key.Name, err)})
	}
}

// offer sends the object when it is another version than the last one, or when trouble has ended.
func (f *follower[T]) offer(ctx context.Context, obj T) bool {
	if obj.GetResourceVersion() == f.version && !f.failing || older(obj.GetResourceVersion(), f.version) {
		return true
	}
	f.version, f.failing = obj.GetResourceVersion(), false
	return f.send(ctx, Update[T]{Object: obj})
}

// older tells whether a resource version came before the other: an event of the watch can be later than a read that
// overtook it (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
func older(version, than string) bool {
	a, errA := strconv.ParseUint(version, 10, 64)
	b, errB := strconv.ParseUint(than, 10, 64)
	return errA == nil && errB == nil && a < b
}

func (f *follower[T]) send(ctx context.Context, u Update[T]) bool {
	select {
	case f.out <- u:
		return true
	case <-ctx.Done():
		return false
	}
}
