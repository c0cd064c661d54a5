package agent

import (
	"net/http"
	"testing"
)

func TestRequestsAreCountedByWhatTheyAskFor(t *testing.T) {
	for request, want := range map[string][2]string{
		"GET /version":      {"get", ""},
		"GET /apis/apps/v1": {"get", ""},
		"GET /api/v1/pods?watch=true&resourceVersion=1":                  {"watch", "pods"},
		"GET /api/v1/namespaces":                                         {"list", "namespaces"},
		"GET /api/v1/namespaces/shop":                                    {"get", "namespaces"},
		"PUT /api/v1/namespaces/shop/status":                             {"update", "namespaces/status"},
		"POST /api/v1/namespaces/shop/pods?dryRun=All":                   {"dryrun", "pods"},
		"POST /api/v1/namespaces/shop/pods/cart-1/eviction":              {"create", "pods/eviction"},
		"GET /apis/apps/v1/namespaces/shop/deployments/cart":             {"get", "deployments"},
		"PATCH /apis/apps/v1/namespaces/shop/deployments/cart":           {"apply", "deployments"},
		"PUT /apis/meshlift.dev/v1alpha1/dataplanerollouts/r/status":     {"update", "dataplanerollouts/status"},
		"DELETE /apis/meshlift.dev/v1alpha1/admissionclaims/u":           {"delete", "admissionclaims"},
		"PUT /apis/coordination.k8s.io/v1/namespaces/cpaas/leases/agent": {"update", "leases"},
	} {
		var method, url string
		for n := range request {
			if request[n] == ' ' {
				method, url = request[:n], request[n+1:]
			}
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "https://api"+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPatch {
			r.Header.Set("Content-Type", "application/apply-patch+yaml")
		}
		if verb, resource := question(r); verb != want[0] || resource != want[1] {
			t.Errorf("%s: %s of %q", request, verb, resource)
		}
	}
}
