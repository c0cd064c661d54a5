package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// served is a hub that runs as a process of the host and serves its API on loopback, with real RBAC: the roles of the chart.
type served struct {
	*labtest.Lab
	base   string
	log    string
	tokens map[string]string
}

func setupServed(t *testing.T) *served {
	t.Helper()
	h := &hubbed{Lab: up(t, "api", "--clusters", "hub", "--install", "", "--workloads", "")}
	if err := h.chart(t, "0.1.0", map[string]any{"replicas": 0}); err != nil {
		t.Fatal(err)
	}
	h.Kubectl(t, nil, "delete", "validatingwebhookconfiguration", "hub.meshlift.dev") // nobody serves it here
	s := &served{Lab: h.Lab, log: filepath.Join(t.TempDir(), "hub.log"), tokens: map[string]string{"anonymous": ""}}
	for _, o := range []client.Object{
		&hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "prod"}}, &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
		&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: hub.MemberClusterSpec{Mesh: "prod", KubeconfigSecret: "east"}},
		&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "doomed"}, Spec: hub.MemberClusterSpec{Mesh: "prod", KubeconfigSecret: "doomed"}},
		&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "stray"}, Spec: hub.MemberClusterSpec{KubeconfigSecret: "stray"}},
		&hub.MeshUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "up"}, Spec: hub.MeshUpgradeSpec{Mesh: "prod", Version: "1.31", Waves: []hub.ClusterWave{{Name: "first", Clusters: []string{"east"}, Approval: true}}}},
	} {
		if err := s.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	namespace(t, s.Lab, "people", nil)
	for _, name := range []string{"viewer", "operator", "approver"} {
		s.person(t, name, "meshlift-"+name)
	}
	of := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "operator-of-other"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"hub.meshlift.dev"}, Resources: []string{"meshes", "meshes/*"}, ResourceNames: []string{"other"}, Verbs: []string{"*"},
	}}}
	if err := s.Client.Create(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	s.person(t, "other", of.Name)
	return s
}

// person makes a service account with a role, and its token.
func (s *served) person(t *testing.T, name, role string) {
	t.Helper()
	s.Kubectl(t, nil, "create", "serviceaccount", name, "-n", "people")
	s.Kubectl(t, nil, "create", "clusterrolebinding", name, "--clusterrole="+role, "--serviceaccount=people:"+name)
	s.tokens[name] = strings.TrimSpace(s.Kubectl(t, nil, "create", "token", name, "-n", "people"))
}

// run runs the hub with the flags until the test ends.
func (s *served) run(t *testing.T, address string, flags ...string) {
	t.Helper()
	hubUntilTheEnd(t, s.Lab, s.log, append([]string{"--api-insecure", "--api-bind-address=" + address}, flags...)...)
	s.base = "http://" + address + "/api/v1"
	labtest.Eventually(t, "the API answers", func(ctx context.Context) string {
		code, text := s.call(ctx, http.DefaultClient, "viewer", "GET", "/clusters/east", "")
		if code != http.StatusOK {
			return text
		}
		return ""
	})
}

func (s *served) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[max(0, len(text)-6000):])
}

// call sends a request as a person and returns the beginning of the answer.
func (s *served) call(ctx context.Context, c *http.Client, who, method, path, body string) (int, string) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.base+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if token := s.tokens[who]; token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		return resp.StatusCode, ""
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(text)
}

// who may do what: the letters are those of viewer, operator, approver and the operator of another mesh ("x"); "" is nobody
// but the open ones, "*" needs no login.
var who = map[string]string{
	"getLoginOptions": "*", "login": "*", "logout": "*", "oidcLogin": "*", "oidcCallback": "*",
	"getSession": "voax", "listMeshes": "voax", "listClusters": "voax", "watchChanges": "voax",
	"createMesh": "o",
	"getMesh":    "voa", "getSidecars": "voa", "getCluster": "voa", "listComponents": "voa", "listMeshUpgrades": "voa", "getMeshUpgrade": "voa",
	"getProposal": "voa", "getClusterUpgrade": "voa", "getReport": "voa", "listEnvoyFilters": "voa", "getEnvoyFilter": "voa", "listNamespaces": "voa",
	"listDataPlanes": "voa", "listRollouts": "voa", "getRollout": "voa",
	"putSidecars": "o", "upgradeComponents": "o", "startMeshUpgrade": "o", "startClusterUpgrade": "o", "deleteClusterUpgrade": "o",
	"pauseMeshUpgrade": "oa", "resumeMeshUpgrade": "oa", "pauseClusterUpgrade": "oa", "resumeClusterUpgrade": "oa",
	"approveWave": "a", "decommissionMesh": "o", "withdrawMeshDecommission": "o", "decommissionCluster": "o", "withdrawClusterDecommission": "o",
	"handleEnvoyFilter": "o", "unhandleEnvoyFilter": "o", "startRollout": "o", "pauseRollout": "o", "resumeRollout": "o", "stopRollout": "o", "decide": "o",
	"removeCluster": "o",
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// TestEveryRouteAsksForTheRightsOfTheCaller sends every operation as everybody, with the RBAC of a real API server.
func TestEveryRouteAsksForTheRightsOfTheCaller(t *testing.T) {
	t.Parallel()
	s := setupServed(t)
	provider := s.provider(t, "http://127.0.0.1:18643/api/v1/oidc/callback")
	s.run(t, "127.0.0.1:18643", "--oidc-issuer-url="+provider, "--oidc-client-id=meshlift", "--oidc-client-secret-file="+s.write(t, "secret"),
		"--oidc-redirect-url=http://127.0.0.1:18643/api/v1/oidc/callback", "--oidc-username-prefix=oidc:")

	t.Run("the table of rights", s.table)
	t.Run("lists show what the caller may see", s.lists)
	t.Run("a cluster in no mesh is asked for by its own name", s.stray)
	t.Run("a session is a cookie, and another site cannot use it", s.session)
	t.Run("people log in at an OpenID Connect provider", s.oidc)
	t.Run("what is done is written down with who did it", s.audited)
}

func (s *served) table(t *testing.T) {
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		}
	}
	_, text := s.call(t.Context(), http.DefaultClient, "anonymous", "GET", "/openapi.json", "")
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err, text)
	}
	seen := map[string]bool{}
	people := []struct{ name, letter string }{{"anonymous", "-"}, {"viewer", "v"}, {"approver", "a"}, {"other", "x"}, {"operator", "o"}} // who may most comes last
	for path, methods := range document.Paths {
		for method, op := range methods {
			seen[op.OperationID] = true
			may, known := who[op.OperationID]
			if !known {
				t.Errorf("%s %s (%s) is in no row of the table", method, path, op.OperationID)
				continue
			}
			values := map[string]string{"{mesh}": "prod", "{cluster}": "east", "{upgrade}": "up"}
			if op.OperationID == "removeCluster" {
				values["{cluster}"] = "doomed"
			}
			at := parameter.ReplaceAllStringFunc(strings.TrimPrefix(path, "/api/v1"), func(p string) string {
				if v := values[p]; v != "" {
					return v
				}
				return "x"
			})
			body := ""
			if method == "post" || method == "put" {
				body = "{}"
			}
			for _, p := range people {
				name, letter := p.name, p.letter
				code, said := s.call(t.Context(), noRedirects, name, strings.ToUpper(method), at, body)
				want := 0
				switch {
				case may == "*" || strings.Contains(may, letter):
				case name == "anonymous":
					want = http.StatusUnauthorized
				default:
					want = http.StatusForbidden
				}
				if want != 0 && code != want || want == 0 && may != "*" && (code == http.StatusUnauthorized || code == http.StatusForbidden) || code == 0 || code == http.StatusInternalServerError {
					t.Errorf("%s %s as %s: %d %s", method, at, name, code, said)
				}
			}
		}
	}
	for id := range who {
		if !seen[id] {
			t.Errorf("there is no operation %s", id)
		}
	}
}

var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (s *served) lists(t *testing.T) {
	for name, want := range map[string][]string{"viewer": {"other", "prod"}, "other": {"other"}} {
		_, text := s.call(t.Context(), http.DefaultClient, name, "GET", "/meshes", "")
		var page struct {
			Items []struct{ Name string }
			Total int
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, m := range page.Items {
			if m.Name != "x" { // the table made it
				have = append(have, m.Name)
			}
		}
		if fmt.Sprint(have) != fmt.Sprint(want) {
			t.Errorf("%s sees %v", name, have)
		}
	}
	if code, text := s.call(t.Context(), http.DefaultClient, "other", "GET", "/meshes/nowhere", ""); code != http.StatusForbidden {
		t.Errorf("a mesh that is not there: %d %s", code, text)
	}
	if code, _ := s.call(t.Context(), http.DefaultClient, "viewer", "GET", "/meshes/nowhere", ""); code != http.StatusNotFound {
		t.Errorf("a mesh that is not there: %d", code)
	}
}

func (s *served) stray(t *testing.T) {
	for name, want := range map[string]int{"viewer": 200, "other": 403} {
		if code, text := s.call(t.Context(), http.DefaultClient, name, "GET", "/clusters/stray", ""); code != want {
			t.Errorf("%s: %d %s", name, code, text)
		}
	}
}

func (s *served) audited(t *testing.T) {
	if code, text := s.call(t.Context(), http.DefaultClient, "approver", "POST", "/upgrades/up/approve", `{"wave":"first"}`); code != http.StatusOK || !strings.Contains(text, `"approvedBy":"system:serviceaccount:people:approver"`) {
		t.Fatalf("%d %s", code, text)
	}
	labtest.Eventually(t, "the approval is an Event", func(context.Context) string {
		events := s.Kubectl(t, nil, "get", "events", "-A", "-o", "jsonpath={range .items[*]}{.reason} {.message}{\"\\n\"}{end}")
		if !strings.Contains(events, "UserAction system:serviceaccount:people:approver: approveWave (done)") {
			return events
		}
		return ""
	})
	if log := s.said(t); !strings.Contains(log, `"logger":"api.audit"`) || !strings.Contains(log, "approveWave") {
		t.Error("the approval is not in the log of the audit")
	}
}
