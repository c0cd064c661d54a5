// Package login finds out who calls the API of the hub, and asks Kubernetes what that person may do.
//
// A caller shows a bearer token of Kubernetes, which the API server of the hub reviews, or the cookie of a session. A session
// begins with such a token, or at an OpenID Connect provider, and ends at its time. The cookie is encrypted and signed; no
// replica keeps sessions.
package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/utils/clock"
)

// User is who calls.
type User struct {
	// Name and Groups as RBAC of the hub's cluster knows them.
	Name   string
	Groups []string
	// Until is when the session ends; zero for a bearer token.
	Until time.Time
}

// ErrUnauthenticated is what errors wrap that mean: nobody has said who calls, or it is not believed.
var ErrUnauthenticated = errors.New("not logged in")

type contextKey struct{}

// With returns a context that knows the caller.
func With(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, contextKey{}, u)
}

// From returns the caller; false when nobody is logged in.
func From(ctx context.Context) (User, bool) {
	u, ok := ctx.Value(contextKey{}).(User)
	return u, ok
}

// Reviewer says whose token it is. The error wraps [ErrUnauthenticated] when the token is not valid.
type Reviewer interface {
	Review(ctx context.Context, token string) (User, error)
}

// Options of [New].
type Options struct {
	// Tokens are reviewed by it.
	Tokens Reviewer
	// Keys of the cookies: 64 bytes to sign, then 32 bytes to encrypt.
	Keys []byte
	// Lifetime of a session; default 8 hours.
	Lifetime time.Duration
	// Insecure sends the cookie over plain HTTP too, for a hub behind a proxy that ends TLS.
	Insecure bool
	// OIDC provider; nil for none.
	OIDC  *OIDC
	Clock clock.PassiveClock
}

// Login authenticates callers.
type Login struct {
	options  Options
	sessions *sessions
}

// New returns a Login, or an error when the keys are too short.
func New(o Options) (*Login, error) {
	if o.Lifetime == 0 {
		o.Lifetime = 8 * time.Hour
	}
	s, err := newSessions(o)
	if err != nil {
		return nil, err
	}
	return &Login{options: o, sessions: s}, nil
}

// OIDC tells whether people can log in at an OpenID Connect provider.
func (l *Login) OIDC() bool { return l.options.OIDC != nil }

// Authenticate returns who sent the request. Without credentials, or with ones that are not believed, the error wraps [ErrUnauthenticated].
func (l *Login) Authenticate(r *http.Request) (User, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		token, ok := strings.CutPrefix(header, "Bearer ")
		if !ok || token == "" {
			return User{}, fmt.Errorf("%w: send the header \"Authorization: Bearer TOKEN\"", ErrUnauthenticated)
		}
		return l.options.Tokens.Review(r.Context(), token)
	}
	return l.sessions.user(r)
}

// Begin begins a session with a token of Kubernetes, and sets its cookie.
func (l *Login) Begin(ctx context.Context, w http.ResponseWriter, token string) (User, error) {
	u, err := l.options.Tokens.Review(ctx, token)
	if err != nil {
		return User{}, err
	}
	return l.sessions.begin(w, session{Token: token, User: u})
}

// End ends the session of the browser.
func (l *Login) End(w http.ResponseWriter) { l.sessions.end(w) }
