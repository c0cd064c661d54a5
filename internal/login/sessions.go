package login

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/securecookie"
)

// Cookie is the name of the session's cookie. The prefix __Host- would forbid plain HTTP on loopback, so the path and flags are set by hand.
const Cookie = "meshlift_session"

// Keys is how many bytes the keys of sessions have.
const Keys = 64 + 32

// session is what the cookie holds, encrypted.
type session struct {
	// Token of Kubernetes, reviewed again on each request, so that a token that is withdrawn ends the session. Empty for OIDC.
	Token string `json:"token,omitempty"`
	User  User   `json:"user"`
}

type sessions struct {
	options Options
	codec   *securecookie.SecureCookie
}

func newSessions(o Options) (*sessions, error) {
	if len(o.Keys) != Keys {
		return nil, fmt.Errorf("the keys of sessions have %d bytes, and must have %d", len(o.Keys), Keys)
	}
	codec := securecookie.New(o.Keys[:64], o.Keys[64:])
	codec.SetSerializer(securecookie.JSONEncoder{})
	codec.MaxAge(0) // the session says itself when it ends
	return &sessions{options: o, codec: codec}, nil
}

func (s *sessions) begin(w http.ResponseWriter, x session) (User, error) {
	x.User.Until = s.options.Clock.Now().Add(s.options.Lifetime).UTC().Truncate(time.Second)
	value, err := s.codec.Encode(Cookie, x)
	if err != nil {
		return User{}, fmt.Errorf("make the session: %w", err)
	}
	http.SetCookie(w, s.cookie(value, int(s.options.Lifetime.Seconds())))
	return x.User, nil
}

func (s *sessions) end(w http.ResponseWriter) { http.SetCookie(w, s.cookie("", -1)) }

func (s *sessions) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: Cookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: !s.options.Insecure, SameSite: http.SameSiteLaxMode}
}

func (s *sessions) user(r *http.Request) (User, error) {
	c, err := r.Cookie(Cookie)
	if err != nil {
		return User{}, fmt.Errorf("%w: send a token, or log in", ErrUnauthenticated)
	}
	var x session
	if err := s.codec.Decode(Cookie, c.Value, &x); err != nil {
		return User{}, fmt.Errorf("%w: the session is not valid, log in again", ErrUnauthenticated)
	}
	if !s.options.Clock.Now().Before(x.User.Until) {
		return User{}, fmt.Errorf("%w: the session has ended, log in again", ErrUnauthenticated)
	}
	return s.still(r.Context(), x)
}

// still makes sure that what the session began with is still believed.
func (s *sessions) still(ctx context.Context, x session) (User, error) {
	if x.Token == "" {
		return x.User, nil
	}
	u, err := s.options.Tokens.Review(ctx, x.Token)
	u.Until = x.User.Until
	return u, err
}
