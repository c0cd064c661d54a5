package agent

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// asked are the requests to the API server, by what they ask for, and how long the answer took to begin. At rest there are
// only watches, and what the election of a leader needs.
var asked = prometheus.NewHistogramVec(prometheus.HistogramOpts{
	Name: "meshlift_api_request_duration_seconds", Help: "Requests to the API server by verb and resource, until the answer begins.",
	Buckets: prometheus.ExponentialBuckets(0.004, 2, 12),
}, []string{"verb", "resource"})

func init() { metrics.Registry.MustRegister(asked) }

// counted returns a copy of the configuration whose clients count their requests.
func counted(c *rest.Config) *rest.Config {
	out := rest.CopyConfig(c)
	out.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{next} })
	return out
}

type counter struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := c.next.RoundTrip(r)
	verb, resource := question(r)
	asked.WithLabelValues(verb, resource).Observe(time.Since(began).Seconds())
	return response, err
}

// question says what a request asks for, in Kubernetes' words: "list" of "deployments", "create" of "pods/eviction". The
// resource is "" when it is about the API itself. A dry run is a verb of its own
// (https://kubernetes.io/docs/reference/using-api/api-concepts/).
func question(r *http.Request) (verb, resource string) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return strings.ToLower(r.Method), ""
	}
	if parts[0] == "namespaces" && len(parts) > 2 && !slices.Contains([]string{"status", "finalize"}, parts[2]) {
		parts = parts[2:] // of a namespace
	}
	resource, named := parts[0], len(parts) > 1
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	query := r.URL.Query()
	switch {
	case query.Get("dryRun") != "":
		return "dryrun", resource
	case r.Method == http.MethodGet && query.Get("watch") != "":
		return "watch", resource
	case r.Method == http.MethodGet && named:
		return "get", resource
	case r.Method == http.MethodGet:
		return "list", resource
	case r.Method == http.MethodPost:
		return "create", resource
	case r.Method == http.MethodPut:
		return "update", resource
	case r.Method == http.MethodPatch && strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch+"):
		return "apply", resource
	}
	return strings.ToLower(r.Method), resource
}
