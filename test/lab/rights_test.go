package lab

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// ours is the namespace in which everything of Meshlift runs. The labs audit its service accounts.
const ours = "cpaas-system"

var rightsReport = flag.String("rights.report", "", "write to this file how often which right was used, and by which requests")

// right is one verb on one resource that a role gives, for some names only or for all.
type right struct {
	role                            string // "ClusterRole x", "Role namespace/x"
	verb, group, resource, resNames string
}

func (r right) String() string {
	text := r.role + ": " + r.verb + " " + r.resource
	if r.group != "" {
		text += "." + r.group
	}
	if r.resNames != "" {
		text += " " + r.resNames
	}
	return text
}

// rights are those that accounts of Meshlift have in any lab of the run, and how often each was used.
var rights = struct {
	sync.Mutex
	used map[right]int
}{used: map[right]int{}}

// request is what the audit log keeps of one
// (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/).
type request struct {
	Verb      string `json:"verb"`
	URI       string `json:"requestURI"`
	User      struct{ Username string }
	ObjectRef struct {
		Namespace, Name, APIGroup, Resource, Subresource string
	}
	ResponseStatus struct{ Code int }
	Annotations    map[string]string
}

// forbidden tells that no role allows it. Admission answers 403 as well, when a quota is exceeded for example, which is no matter of
// rights. But who writes a role must have its rights, and who writes a policy those to read its parameters, which is answered by 403
// or 422.
func (r *request) forbidden() bool {
	code, group := r.ResponseStatus.Code, r.ObjectRef.APIGroup
	return r.Annotations["authorization.k8s.io/decision"] == "forbid" ||
		code == http.StatusForbidden && group == rbacv1.GroupName ||
		(code == http.StatusForbidden || code == http.StatusUnprocessableEntity) && strings.Contains(r.ObjectRef.Resource, "admissionpolic")
}

func (r *request) resource() string {
	if r.ObjectRef.Subresource == "" {
		return r.ObjectRef.Resource
	}
	return r.ObjectRef.Resource + "/" + r.ObjectRef.Subresource
}

// grant is a role, bound to an account in one namespace or in all.
type grant struct {
	account, namespace, role string
	rules                    []rbacv1.PolicyRule
}

// each calls f with every right of the role and its names.
func (g *grant) each(f func(r right, names []string)) {
	for _, rule := range g.rules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					f(right{g.role, verb, group, resource, strings.Join(rule.ResourceNames, ",")}, rule.ResourceNames)
				}
			}
		}
	}
}

// noteRights adds what the accounts of Meshlift are allowed in every cluster of a lab, and what they used of it. A request that no
// role allows fails the test.
func noteRights(t *testing.T, l *labtest.Lab) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(l.Root, ".lab", "run", l.Name, "*", "audit.log"))
	if err != nil || len(logs) == 0 {
		t.Errorf("lab %s has %d audit logs, %v", l.Name, len(logs), err)
	}
	for _, log := range logs {
		c, err := l.Cluster(filepath.Base(filepath.Dir(log)))
		if err != nil {
			t.Fatal(err)
		}
		grants, err := granted(context.WithoutCancel(t.Context()), c.Client) // which has ended when tests are cleaned up
		if err != nil {
			t.Errorf("lab %s: %v", l.Name, err)
			continue
		}
		f, err := os.Open(log)
		if err != nil {
			t.Fatal(err)
		}
		refused := count(f, grants)
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		for _, r := range refused {
			t.Errorf("lab %s: no role allows it: %s", l.Name, r)
		}
	}
}

// granted are the roles that are bound to the accounts of Meshlift, those of single namespaces first.
func granted(ctx context.Context, c client.Client) ([]grant, error) {
	roles, bindings := &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}
	clusterRoles, clusterBindings := &rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}
	for _, list := range []client.ObjectList{roles, bindings, clusterRoles, clusterBindings} {
		if err := c.List(ctx, list); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	rules := map[string][]rbacv1.PolicyRule{}
	for _, r := range roles.Items {
		rules["Role "+r.Namespace+"/"+r.Name] = r.Rules
	}
	for _, r := range clusterRoles.Items {
		rules["ClusterRole "+r.Name] = r.Rules
	}
	var out []grant
	add := func(namespace string, subjects []rbacv1.Subject, role string) {
		for _, s := range subjects {
			if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == ours && role != "ClusterRole cluster-admin" {
				out = append(out, grant{"system:serviceaccount:" + ours + ":" + s.Name, namespace, role, rules[role]})
			}
		}
	}
	for _, b := range bindings.Items {
		role := b.RoleRef.Kind + " " + b.RoleRef.Name
		if b.RoleRef.Kind == "Role" {
			role = "Role " + b.Namespace + "/" + b.RoleRef.Name
		}
		add(b.Namespace, b.Subjects, role)
	}
	for _, b := range clusterBindings.Items {
		add("", b.Subjects, "ClusterRole "+b.RoleRef.Name)
	}
	return out, nil
}

// count adds the requests of an audit log to the rights that allowed them: a request that a role of its namespace allows is not
// counted for one of the whole cluster. It returns those that none of all roles allows.
func count(log io.Reader, grants []grant) (refused []string) {
	rights.Lock()
	defer rights.Unlock()
	for n := range grants {
		grants[n].each(func(r right, _ []string) { rights.used[r] += 0 })
	}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		r := &request{}
		if json.Unmarshal(lines.Bytes(), r) != nil || r.ObjectRef.Resource == "" {
			continue // the last line may be half of one
		}
		if r.forbidden() {
			if takenAway(r, grants) {
				continue
			}
			if text := fmt.Sprintf("%s: %s %s", r.User.Username, r.Verb, r.URI); !slices.Contains(refused, text) {
				refused = append(refused, text)
			}
			continue
		}
		for n := range grants {
			if g := &grants[n]; g.account == r.User.Username && (g.namespace == "" || g.namespace == r.ObjectRef.Namespace) && g.allows(r) {
				break
			}
		}
	}
	return refused
}

// takenAway tells that the account was refused because its role was not there at the moment: it has what it asked for now, or it has
// nothing any more, as the hub in a cluster that was removed. What a role lacks is neither.
func takenAway(q *request, grants []grant) bool {
	bound := false
	for n := range grants {
		g := &grants[n]
		if g.account != q.User.Username {
			continue
		}
		bound = true
		has := false
		g.each(func(r right, names []string) {
			has = has || r.verb == q.Verb && r.group == q.ObjectRef.APIGroup && r.resource == q.resource() && (len(names) == 0 || slices.Contains(names, q.ObjectRef.Name))
		})
		if has && (g.namespace == "" || g.namespace == q.ObjectRef.Namespace) {
			return true
		}
	}
	return !bound
}

// allows counts the request for every right of the role that allows it, and reports whether there is one.
func (g *grant) allows(q *request) (yes bool) {
	g.each(func(r right, names []string) {
		created := q.Verb == "patch" && r.verb == "create" && q.ResponseStatus.Code == http.StatusCreated // by server-side apply
		if (r.verb == q.Verb || created) && r.group == q.ObjectRef.APIGroup && r.resource == q.resource() && (len(names) == 0 || slices.Contains(names, q.ObjectRef.Name)) {
			rights.used[r]++
			yes = true
		}
	})
	return yes
}

// rightsAreNeeded says, when all tests of the package have run and passed, which rights were given for nothing.
func rightsAreNeeded(passed bool) error {
	rights.Lock()
	defer rights.Unlock()
	if *rightsReport != "" {
		var text strings.Builder
		for _, r := range slices.SortedFunc(maps.Keys(rights.used), func(a, b right) int { return cmp.Compare(a.String(), b.String()) }) {
			fmt.Fprintf(&text, "%7d  %s\n", rights.used[r], r)
		}
		if err := os.WriteFile(*rightsReport, []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	if !passed || flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" || flag.Lookup("test.list").Value.String() != "" {
		return nil
	}
	var wrong []string
	excused := map[string]bool{}
	for r, n := range rights.used {
		watched := r
		watched.verb = "watch"
		if why := seldom(r); why != "" {
			excused[why] = true
		} else if n == 0 && !(r.verb == "list" && rights.used[watched] > 0) { // a watch may begin with a list
			wrong = append(wrong, r.String())
		}
	}
	for _, e := range excuses() {
		if !excused[e.why] {
			wrong = append(wrong, fmt.Sprintf("nobody has the right any more that is excused by %q", e.why))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("no test of this package used these rights: take them out of the chart, test what needs them, or say in seldom_test.go what that is:\n  %s",
		strings.Join(wrong, "\n  "))
}
