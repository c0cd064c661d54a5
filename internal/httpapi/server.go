// Package httpapi serves /api/v1 of the hub, for the pages of the hub and for scripts: what the hub knows about meshes and clusters,
// live lists from the clusters themselves, and every edit that the command line makes, by the same functions.
//
// A request passes: size and rate limits, login, authorisation by RBAC of the hub's cluster, the handler, and, when it changes
// something, the audit. Handlers translate; gates and admission decide, so a refusal here is the sentence that the command line shows.
package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/login"
	"meshlift.dev/meshlift/internal/mesh"
)

// Base of all routes.
const Base = "/api/v1"

// Members are the connections with the clusters; see internal/member.
type Members interface {
	// Client reads and writes live in the cluster.
	Client(cluster string) (client.Client, error)
	// Cached reads the objects of Meshlift in the cluster as watches brought them.
	Cached(cluster string) (client.Reader, error)
}

// Authenticator says who calls; see internal/login.
type Authenticator interface {
	Authenticate(r *http.Request) (login.User, error)
	Begin(ctx context.Context, w http.ResponseWriter, token string) (login.User, error)
	End(w http.ResponseWriter)
	OIDC() bool
	Redirect(w http.ResponseWriter, page string) (location string, err error)
	Callback(w http.ResponseWriter, r *http.Request, state, code string) (page string, u login.User, err error)
}

// Authorizer says what a user may do; see internal/login.
type Authorizer interface {
	May(ctx context.Context, u login.User, what login.Attributes) (bool, error)
}

// Options of [New].
type Options struct {
	// Client of the hub's own cluster; reads may come from a cache.
	Client  client.Client
	Members Members
	// Away tells whether an error says that a cluster does not answer, so that the caller should try again later; nil for never.
	Away func(error) bool
	// Inventory reads the mesh of one cluster live. It is called at most once at a time for each cluster.
	Inventory func(ctx context.Context, cluster string) (*mesh.Inventory, error)
	Login     Authenticator
	Access    Authorizer
	// Recorder writes an Event for each change on the object that it is about; nil for none.
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	Log      logr.Logger
	// Version of the hub.
	Version string
	// RequestsPerSecond of one caller; default 50, with bursts of twice as many.
	RequestsPerSecond float64
}

// Server is the API. It is an http.Handler for everything below [Base].
type Server struct {
	options     Options
	api         huma.API
	handler     http.Handler
	inventories *inventories
	feed        *feed
	limits      limits
}

// New returns the API.
func New(o Options) *Server {
	if o.RequestsPerSecond == 0 {
		o.RequestsPerSecond = 50
	}
	mux := http.NewServeMux()
	c := huma.DefaultConfig("Meshlift", o.Version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = Base+"/openapi", "", ""
	c.CreateHooks, c.RejectUnknownQueryParameters = nil, true
	c.Info.Description = "Moves Istio meshes to a new Istio version by canary, across a fleet of Kubernetes clusters."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "A token of the hub's Kubernetes cluster."},
		"session": {Type: "apiKey", In: "cookie", Name: login.Cookie, Description: "The session that POST " + Base + "/session begins."},
	}
	s := &Server{
		options: o, api: humago.New(mux, c), feed: newFeed(),
		limits: limits{rate: o.RequestsPerSecond, clock: o.Clock},
	}
	s.inventories = newInventories(o.Inventory, o.Clock, s.readAgain)
	for _, register := range []func(*Server){
		session, meshes, sidecars, clusters, components, meshUpgrades, upgrades, envoyFilters, dataPlanes, rollouts, changes,
	} {
		register(s)
	}
	s.handler = s.guard(mux)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// OpenAPI is the description of the API, as JSON (https://spec.openapis.org/oas/v3.1.0).
func (s *Server) OpenAPI() ([]byte, error) { return s.api.OpenAPI().MarshalJSON() }

// scope is what a permission is about.
type scope int

const (
	// nobody: no login is needed.
	nobody scope = iota
	// anybody who is logged in; the handler shows what the caller may see.
	anybody
	// theMesh of the path: {mesh}, the mesh of {cluster}, or of {upgrade}.
	theMesh
	// everyMesh: the permission is for all meshes, without a name.
	everyMesh
)

// need is the permission that a route asks for: a verb on meshes, or on a subresource of meshes that only Meshlift knows. A cluster
// in no mesh is asked for as itself: the same verb and subresource of memberclusters.
type need struct {
	scope     scope
	verb, sub string
}

// out is the answer of an operation.
type out[T any] struct{ Body T }

func body[T any](v T) *out[T] { return &out[T]{v} }

// add registers an operation with its permission and audit.
func add[I, O any](s *Server, method, path, id, summary string, n need, f func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		OperationID: id, Method: method, Path: Base + path, Summary: summary, Middlewares: huma.Middlewares{s.admit(n)},
		MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second, Tags: []string{tag(path)},
	}
	if n.scope != nobody {
		op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	}
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		result, err := f(ctx, in)
		err = s.problem(err)
		if method != http.MethodGet && n.scope != nobody {
			s.audit(ctx, id, err)
		}
		return result, err
	})
}
