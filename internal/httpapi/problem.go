package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/login"
)

// Verdict is the answer of a gate that refused.
type Verdict struct {
	Outcome string `json:"outcome" enum:"Wait,Block" doc:"Wait: it opens by itself. Block: somebody has to act."`
	Reason  string `json:"reason" doc:"One word for machines, for example OldIstiod."`
	Message string `json:"message" doc:"One sentence: what is refused, what is in the way, what to do."`
}

// Problem is an error (RFC 9457), with the verdict when a gate refused.
type Problem struct {
	huma.ErrorModel
	Verdict *Verdict `json:"verdict,omitempty"`
}

// The library makes every error by this function, and learns from it how errors look in the OpenAPI document.
func init() {
	standard := huma.NewError
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		p := &Problem{}
		if m, ok := standard(status, message, errs...).(*huma.ErrorModel); ok {
			p.ErrorModel = *m
		}
		return p
	}
}

func problemf(status int, format string, args ...any) *Problem {
	return &Problem{ErrorModel: huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...)}}
}

// refusal is a rule that says no: the sentence that command line and admission show.
func refusal(v gate.Verdict) error {
	p := problemf(http.StatusConflict, "%s", v.Message)
	p.Verdict = &Verdict{Outcome: string(v.Outcome), Reason: v.Reason, Message: v.Message}
	return p
}

func refused(reason, format string, args ...any) error {
	return refusal(gate.Block(reason, format, args...))
}

func forbidden(u login.User, what login.Attributes) error {
	return problemf(http.StatusForbidden, "%s may not %s: ask for a role that allows it, see the ClusterRoles meshlift-viewer, meshlift-operator and meshlift-approver", u.Name, what)
}

// problem turns any error into a Problem; nil stays nil.
func (s *Server) problem(err error) error {
	var p *Problem
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p):
		return p
	case errors.Is(err, login.ErrUnauthenticated):
		return problemf(http.StatusUnauthorized, "%s", err)
	case meta.IsNoMatchError(err):
		return problemf(http.StatusConflict, "the agent of Meshlift is not installed in the cluster: its kinds are missing")
	case errors.As(err, &status):
		st := status.Status()
		if sentence := gate.Sentence(st); sentence != "" {
			return refused(string(st.Reason), "%s", sentence)
		}
		switch {
		case apierrors.IsNotFound(err):
			return problemf(http.StatusNotFound, "%s", st.Message)
		case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
			return problemf(http.StatusConflict, "%s", st.Message)
		}
	}
	s.options.Log.Error(err, "a request failed")
	if s.options.Away != nil && s.options.Away(err) {
		return problemf(http.StatusServiceUnavailable, "%s", err)
	}
	return problemf(http.StatusBadGateway, "%s", err)
}

func asProblem(err error) *Problem {
	var p *Problem
	if !errors.As(err, &p) {
		p = problemf(http.StatusInternalServerError, "%s", err)
	}
	return p
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problemf(status, "%s", detail))
}
