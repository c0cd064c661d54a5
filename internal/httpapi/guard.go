package httpapi

import (
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// maxBody of a request, in bytes.
const maxBody = 1 << 20

func tag(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return name
}

// guard is around everything: what a browser may do with answers, requests that another site makes in a browser, and how many
// requests an address may send before anybody knows who it is.
func (s *Server) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !s.limits.allow("address "+host, perAddress) {
			s.tooMany(w)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

func (s *Server) tooMany(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	writeProblem(w, http.StatusTooManyRequests, "too many requests: slow down")
}

// limits counts requests of callers.
type limits struct {
	rate  float64
	clock clock.PassiveClock
	mu    sync.Mutex
	all   map[string]*rate.Limiter
}

// perAddress is how many times more requests an address may send than a person: many people can be behind one proxy.
const perAddress = 10

// mostCallers that are counted apart; beyond it counting begins anew.
const mostCallers = 10_000

func (l *limits) allow(caller string, times float64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil || len(l.all) > mostCallers {
		l.all = map[string]*rate.Limiter{}
	}
	limiter := l.all[caller]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Limit(times*l.rate), int(2*times*l.rate)+1)
		l.all[caller] = limiter
	}
	return limiter.AllowN(l.clock.Now(), 1)
}

// admit is before each operation: who calls, and may they?
func (s *Server) admit(n need) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		if n.scope == nobody {
			next(huma.WithValue(ctx, requestKey{}, &request{r: r, w: w}))
			return
		}
		u, err := s.options.Login.Authenticate(r)
		if err != nil {
			s.refuse(ctx, s.problem(err))
			return
		}
		if !s.limits.allow("user "+u.Name, 1) {
			s.tooMany(w)
			return
		}
		q := &request{r: r, w: w, user: u}
		if err := s.permit(q, n, ctx.Param); err != nil {
			s.refuse(ctx, s.problem(err))
			return
		}
		next(huma.WithValue(ctx, requestKey{}, q))
	}
}

func (s *Server) refuse(ctx huma.Context, err error) {
	p := asProblem(err)
	_, w := humago.Unwrap(ctx)
	writeProblem(w, p.Status, p.Detail)
}

// permit finds out which mesh the request is about, and asks whether the user may.
func (s *Server) permit(q *request, n need, param func(string) string) error {
	ctx := q.r.Context()
	if n.scope == anybody {
		return nil
	}
	what := attributes(n.verb, n.sub, "", "")
	var missing error
	if n.scope == theMesh {
		if missing = s.locate(q, param); missing != nil && !apierrors.IsNotFound(missing) {
			return missing
		}
		what = attributes(n.verb, n.sub, q.mesh, param("cluster"))
		if missing != nil {
			// Only who may see every mesh is told that this one is not there.
			what = attributes("get", "", "", "")
		}
	}
	ok, err := s.options.Access.May(ctx, q.user, what)
	switch {
	case err != nil:
		return err
	case !ok:
		return forbidden(q.user, what)
	}
	return missing
}

// locate fills in the mesh, the cluster and the upgrade of the path.
func (s *Server) locate(q *request, param func(string) string) error {
	ctx, c := q.r.Context(), s.options.Client
	switch {
	case param("cluster") != "":
		m := &hub.MemberCluster{}
		if err := c.Get(ctx, client.ObjectKey{Name: param("cluster")}, m); err != nil {
			return err
		}
		q.cluster, q.mesh = m, m.Spec.Mesh
	case param("upgrade") != "":
		u := &hub.MeshUpgrade{}
		if err := c.Get(ctx, client.ObjectKey{Name: param("upgrade")}, u); err != nil {
			return err
		}
		q.upgrade, q.mesh = u, u.Spec.Mesh
	default:
		m := &hub.Mesh{}
		if err := c.Get(ctx, client.ObjectKey{Name: param("mesh")}, m); err != nil {
			return err
		}
		q.theMesh, q.mesh = m, m.Name
	}
	return nil
}
