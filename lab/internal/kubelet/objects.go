package kubelet

import (
	"context"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// objectKey names a ConfigMap or a Secret.
type objectKey struct {
	resource        string // "configmaps" or "secrets"
	namespace, name string
}

// objectCache watches the ConfigMaps and Secrets that pods of the node use, each for itself and
// only as long as there is such a pod.
type objectCache struct {
	ctx    context.Context
	client kubernetes.Interface
	log    *slog.Logger

	mu      sync.Mutex
	entries map[objectKey]*objectEntry
}

// objectEntry is one watched object.
type objectEntry struct {
	store  cache.Store
	synced <-chan struct{}
	stop   context.CancelFunc
	users  map[*objectSet]bool
}

func newObjectCache(ctx context.Context, client kubernetes.Interface, log *slog.Logger) *objectCache {
	return &objectCache{ctx: ctx, client: client, log: log, entries: map[objectKey]*objectEntry{}}
}

// objectSet is the objects that one pod uses.
type objectSet struct {
	cache   *objectCache
	keys    map[objectKey]bool
	changed func()
}

// use starts to watch the objects of a pod; changed is called after each change of one of them.
func (c *objectCache) use(keys map[objectKey]bool, changed func()) *objectSet {
	set := &objectSet{cache: c, keys: keys, changed: changed}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range keys {
		e := c.entries[key]
		if e == nil {
			e = c.watch(key)
			c.entries[key] = e
		}
		e.users[set] = true
	}
	return set
}

// close ends the watches that nobody else needs.
func (s *objectSet) close() {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	for key := range s.keys {
		e := s.cache.entries[key]
		if e == nil {
			continue
		}
		delete(e.users, s)
		if len(e.users) == 0 {
			e.stop()
			delete(s.cache.entries, key)
		}
	}
}

// wait returns when the state of every object is known, or ctx has ended.
func (s *objectSet) wait(ctx context.Context) {
	for key := range s.keys {
		s.cache.mu.Lock()
		e := s.cache.entries[key]
		s.cache.mu.Unlock()
		if e == nil {
			continue
		}
		select {
		case <-e.synced:
		case <-ctx.Done():
			return
		}
	}
}

// get returns an object of the set if it exists.
func (s *objectSet) get(key objectKey) (runtime.Object, bool) {
	s.cache.mu.Lock()
	e := s.cache.entries[key]
	s.cache.mu.Unlock()
	if e == nil {
		return nil, false
	}
	o, found, err := e.store.GetByKey(key.namespace + "/" + key.name)
	if err != nil || !found {
		return nil, false
	}
	object, ok := o.(runtime.Object)
	return object, ok
}

// configMap returns a ConfigMap of the set if it exists.
func (s *objectSet) configMap(namespace, name string) (*corev1.ConfigMap, bool) {
	o, _ := s.get(objectKey{"configmaps", namespace, name})
	m, ok := o.(*corev1.ConfigMap)
	return m, ok
}

// secret returns a Secret of the set if it exists.
func (s *objectSet) secret(namespace, name string) (*corev1.Secret, bool) {
	o, _ := s.get(objectKey{"secrets", namespace, name})
	m, ok := o.(*corev1.Secret)
	return m, ok
}

func (c *objectCache) watch(key objectKey) *objectEntry {
	var kind runtime.Object = &corev1.ConfigMap{}
	if key.resource == "secrets" {
		kind = &corev1.Secret{}
	}
	ctx, stop := context.WithCancel(c.ctx)
	e := &objectEntry{stop: stop, users: map[*objectSet]bool{}}
	notify := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for set := range e.users {
			set.changed()
		}
	}
	store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(c.client.CoreV1().RESTClient(), key.resource, key.namespace,
			fields.OneTermEqualSelector("metadata.name", key.name)),
		ObjectType: kind,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { notify() },
			UpdateFunc: func(any, any) { notify() },
			DeleteFunc: func(any) { notify() },
		},
	})
	e.store = store
	e.synced = informer.HasSyncedChecker().Done()
	go informer.RunWithContext(ctx)
	return e
}
