// Package retry says when controllers look again after an error.
package retry

import (
	"time"

	"golang.org/x/time/rate"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Longest is how long an object waits at most after an error. The default of controller-runtime doubles to 17 minutes
// (https://pkg.go.dev/k8s.io/client-go/util/workqueue#DefaultTypedControllerRateLimiter): so long an upgrade would stand still
// after an API server has answered with errors for a few minutes, without a word of why.
const Longest = 15 * time.Second

// Options are those of a controller that looks at so many objects at the same time.
func Options(concurrent int) controller.Options {
	return controller.Options{MaxConcurrentReconciles: concurrent, RateLimiter: limiter()}
}

func limiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedMaxOfRateLimiter(
		workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](10*time.Millisecond, Longest),
		// All objects together, as in the default.
		&workqueue.TypedBucketRateLimiter[reconcile.Request]{Limiter: rate.NewLimiter(10, 100)},
	)
}
