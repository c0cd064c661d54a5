package login

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// remember is how long an answer of the API server is used again. A right that is taken away ends after this time.
const remember = 10 * time.Second

// most answers that are remembered; beyond it the memory begins anew.
const most = 10_000

// answers remembers what the API server said for a short while.
type answers[K comparable, V any] struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	all   map[K]answer[V]
}

type answer[V any] struct {
	value V
	until time.Time
}

func (a *answers[K, V]) get(key K, ask func() (V, error)) (V, error) {
	now := a.clock.Now()
	a.mu.Lock()
	known, ok := a.all[key]
	a.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.value, nil
	}
	v, err := ask()
	if err != nil {
		return v, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil || len(a.all) >= most {
		a.all = map[K]answer[V]{}
	}
	a.all[key] = answer[V]{v, now.Add(remember)}
	return v, nil
}

// Tokens reviews tokens with the API server
// (https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/).
type Tokens struct {
	client client.Client
	known  answers[[sha256.Size]byte, User]
}

// NewTokens returns a [Reviewer]. The client must be allowed to create TokenReviews.
func NewTokens(c client.Client, now clock.PassiveClock) *Tokens {
	return &Tokens{client: c, known: answers[[sha256.Size]byte, User]{clock: now}}
}

// Review implements [Reviewer].
func (t *Tokens) Review(ctx context.Context, token string) (User, error) {
	return t.known.get(sha256.Sum256([]byte(token)), func() (User, error) {
		r := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
		if err := t.client.Create(ctx, r); err != nil {
			return User{}, fmt.Errorf("ask the API server whose token it is: %w", err)
		}
		if !r.Status.Authenticated {
			return User{}, fmt.Errorf("%w: the API server does not accept the token", ErrUnauthenticated)
		}
		return User{Name: r.Status.User.Username, Groups: r.Status.User.Groups}, nil
	})
}

// Attributes of an action, as RBAC knows them, in the group hub.meshlift.dev.
type Attributes struct {
	Verb, Resource, Subresource, Name string
}

// String is "create meshes/rollouts prod".
func (a Attributes) String() string {
	s := a.Verb + " " + a.Resource
	if a.Subresource != "" {
		s += "/" + a.Subresource
	}
	return strings.TrimSpace(s + " " + a.Name)
}

// Access asks what people may do
// (https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access).
type Access struct {
	client client.Client
	group  string
	known  answers[question, bool]
}

type question struct {
	user, groups string
	Attributes
}

// NewAccess returns an Access for resources of the group. The client must be allowed to create SubjectAccessReviews.
func NewAccess(c client.Client, group string, now clock.PassiveClock) *Access {
	return &Access{client: c, group: group, known: answers[question, bool]{clock: now}}
}

// May tells whether the user may do it.
func (a *Access) May(ctx context.Context, u User, what Attributes) (bool, error) {
	groups := slices.Sorted(slices.Values(u.Groups))
	return a.known.get(question{u.Name, strings.Join(groups, "\x00"), what}, func() (bool, error) {
		r := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: u.Name, Groups: groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: a.group, Version: "*", Verb: what.Verb, Resource: what.Resource, Subresource: what.Subresource, Name: what.Name,
			},
		}}
		if err := a.client.Create(ctx, r); err != nil {
			return false, fmt.Errorf("ask the API server what %s may do: %w", u.Name, err)
		}
		return r.Status.Allowed, nil
	})
}
