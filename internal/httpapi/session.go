package httpapi

import (
	"context"
	"net/http"
	"time"

	"meshlift.dev/meshlift/internal/login"
)

// Session is who is logged in.
type Session struct {
	User   string     `json:"user"`
	Groups []string   `json:"groups" nullable:"false"`
	Until  *time.Time `json:"until,omitempty" doc:"When the session ends; not set for a bearer token."`
}

// LoginOptions are the ways to log in.
type LoginOptions struct {
	OIDC    bool   `json:"oidc" doc:"Whether people can log in at an OpenID Connect provider."`
	Version string `json:"version" doc:"Version of the hub."`
	// Session is not an error when there is none, so that pages can ask.
	Session *Session `json:"session,omitempty" doc:"Who is logged in; not set when nobody is."`
}

func sessionOf(u login.User) Session {
	out := Session{User: u.Name, Groups: append([]string{}, u.Groups...)}
	if !u.Until.IsZero() {
		out.Until = &u.Until
	}
	return out
}

type redirect struct {
	Status   int
	Location string `header:"Location"`
}

// session is about logging in and out.
func session(s *Server) {
	open := need{scope: nobody}
	add(s, http.MethodGet, "/login", "getLoginOptions", "How people can log in", open, func(ctx context.Context, _ *struct{}) (*out[LoginOptions], error) {
		options := LoginOptions{OIDC: s.options.Login.OIDC(), Version: s.options.Version}
		if u, err := s.options.Login.Authenticate(of(ctx).r); err == nil {
			known := sessionOf(u)
			options.Session = &known
		}
		return body(options), nil
	})
	add(s, http.MethodPost, "/session", "login", "Begin a session with a token of Kubernetes", open, func(ctx context.Context, in *struct {
		Body struct {
			Token string `json:"token" minLength:"1" maxLength:"16384"`
		}
	},
	) (*out[Session], error) {
		u, err := s.options.Login.Begin(ctx, of(ctx).w, in.Body.Token)
		if err != nil {
			return nil, err
		}
		return body(sessionOf(u)), nil
	})
	add(s, http.MethodDelete, "/session", "logout", "End the session", open, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		s.options.Login.End(of(ctx).w)
		return nil, nil
	})
	add(s, http.MethodGet, "/session", "getSession", "Who is logged in", need{scope: anybody}, func(ctx context.Context, _ *struct{}) (*out[Session], error) {
		return body(sessionOf(of(ctx).user)), nil
	})
	add(s, http.MethodGet, "/oidc/login", "oidcLogin", "Log in at the OpenID Connect provider", open, func(ctx context.Context, in *struct {
		Page string `query:"page" doc:"The page to come back to."`
	},
	) (*redirect, error) {
		to, err := s.options.Login.Redirect(of(ctx).w, in.Page)
		if err != nil {
			return nil, problemf(http.StatusNotFound, "%s", err)
		}
		return &redirect{http.StatusFound, to}, nil
	})
	add(s, http.MethodGet, "/oidc/callback", "oidcCallback", "Where the OpenID Connect provider sends people back", open, func(ctx context.Context, in *struct {
		State        string `query:"state"`
		Code         string `query:"code"`
		SessionState string `query:"session_state"`
		Issuer       string `query:"iss"`
		Scope        string `query:"scope"`
		Error        string `query:"error"`
		Description  string `query:"error_description"`
	},
	) (*redirect, error) {
		if !s.options.Login.OIDC() {
			return nil, problemf(http.StatusNotFound, "no OpenID Connect provider is configured")
		}
		if in.Error != "" {
			return nil, problemf(http.StatusUnauthorized, "the provider did not log you in: %s %s", in.Error, in.Description)
		}
		page, _, err := s.options.Login.Callback(of(ctx).w, of(ctx).r, in.State, in.Code)
		if err != nil {
			return nil, err
		}
		return &redirect{http.StatusFound, page}, nil
	})
}
