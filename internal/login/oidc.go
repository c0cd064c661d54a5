package login

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCConfig says where people log in, with the meanings of the API server's flags
// (https://kubernetes.io/docs/reference/access-authn-authz/authentication/#configuring-the-api-server), so that the same
// people have the same names for RBAC.
type OIDCConfig struct {
	IssuerURL, ClientID, ClientSecret string
	// RedirectURL is the address of /api/v1/oidc/callback as browsers see it.
	RedirectURL string
	// UsernameClaim (default "sub") and GroupsClaim (default "groups").
	UsernameClaim, GroupsClaim string
	// UsernamePrefix and GroupsPrefix are put in front. The API server puts "ISSUER#" in front of names from other claims than
	// email, unless it is told otherwise: say the same here.
	UsernamePrefix, GroupsPrefix string
	// Scopes besides openid; default profile, email, groups.
	Scopes []string
}

// OIDC logs people in at a provider by the authorization code flow with PKCE (RFC 7636).
type OIDC struct {
	config   OIDCConfig
	oauth    oauth2.Config
	verifier *oidc.IDTokenVerifier
}

// NewOIDC asks the provider for its addresses and keys.
func NewOIDC(ctx context.Context, c OIDCConfig) (*OIDC, error) {
	if c.UsernameClaim == "" {
		c.UsernameClaim = "sub"
	}
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email", "groups"}
	}
	p, err := oidc.NewProvider(ctx, c.IssuerURL)
	if err != nil {
		return nil, fmt.Errorf("ask the OpenID Connect provider %s: %w", c.IssuerURL, err)
	}
	return &OIDC{
		config: c,
		oauth: oauth2.Config{
			ClientID: c.ClientID, ClientSecret: c.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: c.RedirectURL,
			Scopes: append([]string{oidc.ScopeOpenID}, c.Scopes...),
		},
		verifier: p.Verifier(&oidc.Config{ClientID: c.ClientID}),
	}, nil
}

// flow is what the browser brings back from the provider, in a cookie of its own.
type flow struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
	Return   string `json:"return"`
}

const (
	flowCookie = "meshlift_login"
	flowAge    = 600 // seconds
)

// Redirect sends the browser to the provider; afterwards it comes back to the page, a path of the hub.
func (l *Login) Redirect(w http.ResponseWriter, page string) (location string, err error) {
	if l.options.OIDC == nil {
		return "", errors.New("no OpenID Connect provider is configured")
	}
	if !strings.HasPrefix(page, "/") || strings.HasPrefix(page, "//") || strings.ContainsAny(page, "\\\r\n") {
		page = "/"
	}
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: page}
	value, err := l.sessions.codec.Encode(flowCookie, f)
	if err != nil {
		return "", fmt.Errorf("begin the login: %w", err)
	}
	c := l.sessions.cookie(value, flowAge)
	c.Name = flowCookie
	http.SetCookie(w, c)
	return l.options.OIDC.oauth.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), nil
}

// Callback takes the code that the browser brings, begins the session and returns the page to go to.
func (l *Login) Callback(w http.ResponseWriter, r *http.Request, state, code string) (page string, u User, err error) {
	var f flow
	cookie, err := r.Cookie(flowCookie)
	if err != nil || l.sessions.codec.Decode(flowCookie, cookie.Value, &f) != nil || f.State == "" || f.State != state {
		return "", u, fmt.Errorf("%w: this login was not begun here or took too long, log in again", ErrUnauthenticated)
	}
	gone := l.sessions.cookie("", -1)
	gone.Name = flowCookie
	http.SetCookie(w, gone)
	if u, err = l.options.OIDC.exchange(r.Context(), f, code); err != nil {
		return "", u, err
	}
	u, err = l.sessions.begin(w, session{User: u})
	return f.Return, u, err
}

func (o *OIDC) exchange(ctx context.Context, f flow, code string) (User, error) {
	token, err := o.oauth.Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return User{}, fmt.Errorf("%w: the provider does not accept the code: %w", ErrUnauthenticated, err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return User{}, fmt.Errorf("%w: the provider sent no ID token", ErrUnauthenticated)
	}
	id, err := o.verifier.Verify(ctx, raw)
	if err != nil {
		return User{}, fmt.Errorf("%w: the ID token is not valid: %w", ErrUnauthenticated, err)
	}
	if id.Nonce != f.Nonce {
		return User{}, fmt.Errorf("%w: the ID token belongs to another login", ErrUnauthenticated)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return User{}, fmt.Errorf("%w: the ID token cannot be read: %w", ErrUnauthenticated, err)
	}
	return o.user(claims)
}

// reserved begins the names and groups of Kubernetes itself; a provider must not give them away.
const reserved = "system:"

// user takes name and groups from the claims as the API server does.
func (o *OIDC) user(claims map[string]any) (User, error) {
	name, _ := claims[o.config.UsernameClaim].(string)
	if name == "" {
		return User{}, fmt.Errorf("%w: the ID token has no claim %q", ErrUnauthenticated, o.config.UsernameClaim)
	}
	if verified, known := claims["email_verified"].(bool); o.config.UsernameClaim == "email" && known && !verified {
		return User{}, fmt.Errorf("%w: the provider has not verified the address %s", ErrUnauthenticated, name)
	}
	u := User{Name: o.config.UsernamePrefix + name, Groups: []string{"system:authenticated"}}
	if strings.HasPrefix(u.Name, reserved) {
		return User{}, fmt.Errorf("%w: the name %s is reserved for Kubernetes", ErrUnauthenticated, u.Name)
	}
	add := func(group string) {
		if group = o.config.GroupsPrefix + group; !strings.HasPrefix(group, reserved) {
			u.Groups = append(u.Groups, group)
		}
	}
	switch groups := claims[o.config.GroupsClaim].(type) {
	case string:
		add(groups)
	case []any:
		for _, g := range groups {
			if s, ok := g.(string); ok {
				add(s)
			}
		}
	}
	return u, nil
}
