package member

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// patience is how long the first lists of a session may take, and again how long a session that failed is left alone.
const (
	patience = 15 * time.Second
	again    = 3 * time.Second
)

// watched are the kinds that every link keeps copies of. They are few and small.
func watched() map[string]client.Object {
	return map[string]client.Object{
		"controlplanes": &v1alpha1.ControlPlane{}, "clusterupgrades": &v1alpha1.ClusterUpgrade{},
		"dataplanerollouts": &v1alpha1.DataPlaneRollout{}, "catalogs": &v1alpha1.Catalog{},
	}
}

// mapper knows the watched kinds, so that a session needs no discovery.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion})
	for _, kind := range []string{"ControlPlane", "ClusterUpgrade", "DataPlaneRollout", "Catalog"} {
		m.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeRoot)
	}
	return m
}

// watch keeps copies until the returned function is called, which waits for the goroutines.
func (k *link) watch(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := k.session(ctx); ctx.Err() == nil {
				k.unreadable(err)
				select {
				case <-ctx.Done():
				case <-time.After(again):
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

// session watches until the context ends or the cluster says that a kind is not there, or not for the hub.
func (k *link) session(parent context.Context) error {
	ctx, fail := context.WithCancelCause(parent)
	defer fail(nil)
	c, err := cache.New(k.wire.shared, cache.Options{
		Scheme: k.options.Scheme, Mapper: mapper(), ReaderFailOnMissingInformer: true, DefaultTransform: cache.TransformStripManagedFields(),
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) {
			if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
				fail(err)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	for name, kind := range watched() {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watch %s: %w", name, err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { k.changed() }, UpdateFunc: func(any, any) { k.changed() }, DeleteFunc: func(any) { k.changed() },
		}); err != nil {
			return fmt.Errorf("watch %s: %w", name, err)
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer fail(nil)
	running.Go(func() { _ = c.Start(ctx) }) // it fails only when it is started twice
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !c.WaitForCacheSync(first) {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("the first list did not arrive within %s", patience)
	}
	k.mu.Lock()
	k.reader, k.unread = c, ""
	k.mu.Unlock()
	k.changed()
	<-ctx.Done()
	return context.Cause(ctx)
}

// unreadable takes the copies away when they are known to be wrong, and keeps the reason.
func (k *link) unreadable(err error) {
	text := fmt.Sprintf("the objects of Meshlift in cluster %q cannot be read: %v", k.name, err)
	switch {
	case errors.Is(err, context.Canceled):
		return
	case apierrors.IsNotFound(err):
		text = fmt.Sprintf("Meshlift is not installed in cluster %q: install its agent with `meshlift cluster add`", k.name)
	case apierrors.IsForbidden(err):
		text = fmt.Sprintf("the hub may not read the objects of Meshlift in cluster %q: %v", k.name, err)
	}
	k.mu.Lock()
	same := k.unread == text && k.reader == nil
	k.unread = text
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		k.reader = nil
	}
	k.mu.Unlock()
	if !same {
		k.changed()
	}
}
