package httpapi

import (
	"context"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/login"
)

// request is what is known of a request before its handler runs.
type request struct {
	r    *http.Request
	w    http.ResponseWriter
	user login.User
	// mesh that it is about; "" for none.
	mesh string
	// The object of the path, as the cache of the hub has it.
	theMesh *hub.Mesh
	cluster *hub.MemberCluster
	upgrade *hub.MeshUpgrade
}

type requestKey struct{}

func of(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// about is the object that an Event of the request belongs to; nil for none.
func (q *request) about() runtime.Object {
	switch {
	case q.cluster != nil:
		return q.cluster
	case q.upgrade != nil:
		return q.upgrade
	case q.theMesh != nil:
		return q.theMesh
	}
	return nil
}

// audit writes down who did what, and how it ended: a line of the log and an Event.
func (s *Server) audit(ctx context.Context, what string, err error) {
	q := of(ctx)
	result, kind := "done", corev1.EventTypeNormal
	if err != nil {
		result, kind = err.Error(), corev1.EventTypeWarning
	}
	s.options.Log.WithName("audit").Info(what, "user", q.user.Name, "method", q.r.Method, "path", q.r.URL.Path, "mesh", q.mesh, "result", result)
	if about := q.about(); about != nil && s.options.Recorder != nil {
		s.options.Recorder.Eventf(about, nil, kind, "UserAction", what, "%s: %s (%s)", q.user.Name, what, result)
	}
}

// mayOf asks whether the caller may do something in a mesh, or to a cluster in none.
func (s *Server) mayOf(ctx context.Context, verb, sub, mesh, cluster string) (bool, error) {
	return s.options.Access.May(ctx, of(ctx).user, attributes(verb, sub, mesh, cluster))
}

// attributes of an action in a mesh, or on a cluster in none.
func attributes(verb, sub, mesh, cluster string) login.Attributes {
	if mesh == "" && cluster != "" {
		return login.Attributes{Verb: verb, Resource: "memberclusters", Subresource: sub, Name: cluster}
	}
	return login.Attributes{Verb: verb, Resource: "meshes", Subresource: sub, Name: mesh}
}

// edit changes an object, and tries again with what somebody else wrote meanwhile. Change must be repeatable; it returns false
// when there is nothing to change.
func edit[T client.Object](ctx context.Context, c client.Client, obj T, change func(T) (bool, error)) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		before := obj.DeepCopyObject().(T)
		changed, err := change(obj)
		if err != nil || !changed {
			return err
		}
		return c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}
