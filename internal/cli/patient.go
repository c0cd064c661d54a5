package cli

import (
	"context"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// restarting is how long a restart of an agent may take, half a minute in all.
var restarting = wait.Backoff{Duration: 250 * time.Millisecond, Factor: 2, Steps: 8}

// patient writes again when the API server could not reach the admission of the agent or of the hub: it refuses everything that nobody
// can check, as it should, and a pod that restarts is back in a moment. Nothing has been stored then, so that a second try is the first
// (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#failure-policy).
func patient(c client.WithWatch, backoff wait.Backoff) client.WithWatch {
	again := func(ctx context.Context, write func() error) error {
		var last error
		err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
			last = write()
			return !unreachable(last), nil
		})
		if last != nil || err == nil {
			return last
		}
		return err
	}
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return again(ctx, func() error { return c.Create(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return again(ctx, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return again(ctx, func() error { return c.Patch(ctx, o, p, opts...) })
		},
	})
}

// unreachable tells that one of our own webhooks did not answer. What others' webhooks do is theirs.
func unreachable(err error) bool {
	return apierrors.IsInternalError(err) && strings.Contains(err.Error(), "failed calling webhook") && strings.Contains(err.Error(), ".meshlift.dev")
}
