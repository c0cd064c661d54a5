package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

const (
	namespace = "cpaas-system"
	// readers are people who look at pages; the API limits what each may ask for.
	readers = 12
)

type fleet struct {
	options
	lab       *labtest.Lab
	sims      []*sim
	hub       *exec.Cmd
	tokens    []string
	asked     int
	connected time.Duration
}

func (f *fleet) stop() {
	if f.hub != nil {
		_ = f.hub.Process.Signal(syscall.SIGTERM)
		_ = f.hub.Wait()
	}
	for _, s := range f.sims {
		s.close()
	}
}

// register makes everything in the cluster of the hub that installing it and `meshlift cluster add` would.
func (f *fleet) register(ctx context.Context) error {
	if err := f.crds(ctx); err != nil {
		return err
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "bench-reader"}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{hub.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"get", "list"}}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "bench-reader"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bench-reader"},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:serviceaccounts:" + namespace}},
		},
	}
	for n := range f.meshes {
		objects = append(objects, &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("mesh-%d", n)}})
	}
	for n, s := range f.sims {
		kubeconfig, err := s.kubeconfig()
		if err != nil {
			return err
		}
		name := f.member(n)
		objects = append(objects,
			&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string][]byte{"kubeconfig": kubeconfig}},
			&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: hub.MemberClusterSpec{Mesh: fmt.Sprintf("mesh-%d", n*f.meshes/len(f.sims)), KubeconfigSecret: name}})
	}
	for _, o := range objects {
		if err := f.lab.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("make %T %s: %w", o, o.GetName(), err)
		}
	}
	for n := range readers {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("reader-%d", n)}}
		if err := f.lab.Client.Create(ctx, account); err != nil {
			return err
		}
		token := &authenticationv1.TokenRequest{}
		if err := f.lab.Client.SubResource("token").Create(ctx, account, token); err != nil {
			return fmt.Errorf("make a token: %w", err)
		}
		f.tokens = append(f.tokens, token.Status.Token)
	}
	return nil
}

// member is the name of a member.
func (f *fleet) member(n int) string { return fmt.Sprintf("cluster-%03d", n) }

func (f *fleet) crds(ctx context.Context) error {
	files, err := filepath.Glob(filepath.Join(f.lab.Root, "charts", "meshlift", "crds", "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			return err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &u.Object); err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := f.lab.Client.Create(ctx, u); err != nil {
			return fmt.Errorf("make %s: %w", u.GetName(), err)
		}
	}
	return until(ctx, "the kinds of the hub are served", func() bool {
		return f.lab.Client.List(ctx, &hub.MeshList{}) == nil && f.lab.Client.List(ctx, &hub.MemberClusterList{}) == nil
	})
}

// start starts the hub and waits until every member is connected and ready.
func (f *fleet) start(ctx context.Context) error {
	log, err := os.Create(filepath.Join(os.TempDir(), "meshlift-bench-fleet.log"))
	if err != nil {
		return err
	}
	f.hub = exec.Command(f.lab.Meshlift(), "hub", "--webhook-port=0", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--leader-elect=false", "--api-insecure", "--api-bind-address="+f.address)
	f.hub.Env = append(os.Environ(), "KUBECONFIG="+f.lab.Kubeconfig)
	f.hub.Stdout, f.hub.Stderr = log, log
	began := time.Now()
	if err := f.hub.Start(); err != nil {
		return fmt.Errorf("start the hub: %w", err)
	}
	err = until(ctx, "every member is connected and its agent reports (log of the hub: "+log.Name()+")", func() bool {
		list := &hub.MemberClusterList{}
		if f.lab.Client.List(ctx, list) != nil || len(list.Items) != len(f.sims) {
			return false
		}
		return !slices.ContainsFunc(list.Items, func(m hub.MemberCluster) bool {
			return !slices.ContainsFunc(m.Status.Conditions, func(c metav1.Condition) bool {
				return c.Type == hub.ConditionAgentReady && c.Status == metav1.ConditionTrue
			})
		})
	})
	f.connected = time.Since(began)
	return err
}

func until(ctx context.Context, what string, done func() bool) error {
	for end := time.Now().Add(5 * time.Minute); !done(); {
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("not in time: %s", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

// table asks for every list page, one request after the other, and tells how long they took.
func (f *fleet) table(ctx context.Context, when string) error {
	fmt.Printf("\n%s\n", when)
	for _, path := range []string{"/meshes", "/clusters?limit=100", "/meshes/mesh-0", "/meshes/mesh-1", "/meshes/mesh-0/envoyfilters", "/meshes/mesh-1/envoyfilters"} {
		var all []time.Duration
		items := 0
		for range f.requests {
			n, took, err := f.ask(ctx, path)
			if err != nil {
				return err
			}
			items = n
			all = append(all, took)
		}
		slices.Sort(all)
		at := func(q float64) int64 { return all[min(len(all)-1, int(q*float64(len(all))))].Milliseconds() }
		fmt.Printf("%-30s %4d items  p50 %4d ms  p95 %4d ms  p99 %4d ms  max %4d ms\n", path, items, at(0.5), at(0.95), at(0.99), at(1))
	}
	return nil
}

func (f *fleet) ask(ctx context.Context, path string) (items int, took time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.address+"/api/v1"+path, nil)
	if err != nil {
		return 0, 0, err
	}
	f.asked++
	r.Header.Set("Authorization", "Bearer "+f.tokens[f.asked%len(f.tokens)])
	began := time.Now()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	took = time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	if resp.StatusCode == http.StatusTooManyRequests { // a fast machine asks faster than the API lets its readers
		time.Sleep(50 * time.Millisecond)
		return f.ask(ctx, path)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s: %d: %s", path, resp.StatusCode, body)
	}
	var page struct {
		Items   []json.RawMessage `json:"items"`
		Unknown []struct{ Cluster, Message string }
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return 0, 0, fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if len(page.Unknown) > 1 { // the one that hangs is unknown
		return 0, 0, fmt.Errorf("%s: cluster %s: %s", path, page.Unknown[1].Cluster, page.Unknown[1].Message)
	}
	return len(page.Items), took, nil
}

// memory of the hub now, and the most that it ever had, in bytes.
func (f *fleet) memory() (rss, peak int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.hub.Process.Pid))
	for line := range strings.Lines(string(text)) {
		for name, into := range map[string]*int64{"VmRSS:": &rss, "VmHWM:": &peak} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				*into = kib << 10
			}
		}
	}
	return rss, peak
}
