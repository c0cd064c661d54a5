package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// resource is one kind that a simulated member serves.
type resource struct {
	group, version, plural, kind string
	namespaced                   bool
}

func (r resource) apiVersion() string { return strings.TrimPrefix(r.group+"/"+r.version, "/") }

// resources are those that the hub reads of a member; every other one is not found there.
var resources = []resource{
	{"", "v1", "namespaces", "Namespace", false},
	{"", "v1", "secrets", "Secret", true},
	{"", "v1", "pods", "Pod", true},
	{"", "v1", "services", "Service", true},
	{"apps", "v1", "deployments", "Deployment", true},
	{"apps", "v1", "statefulsets", "StatefulSet", true},
	{"apps", "v1", "daemonsets", "DaemonSet", true},
	{"apps", "v1", "replicasets", "ReplicaSet", true},
	{"batch", "v1", "jobs", "Job", true},
	{"batch", "v1", "cronjobs", "CronJob", true},
	{"admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false},
	{"admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false},
	{"meshlift.dev", "v1alpha1", "admissionclaims", "AdmissionClaims", false},
	{"networking.istio.io", "v1alpha3", "envoyfilters", "EnvoyFilter", true},
	{"meshlift.dev", "v1alpha1", "controlplanes", "ControlPlane", false},
	{"meshlift.dev", "v1alpha1", "clusterupgrades", "ClusterUpgrade", false},
	{"meshlift.dev", "v1alpha1", "dataplanerollouts", "DataPlaneRollout", false},
	{"meshlift.dev", "v1alpha1", "catalogs", "Catalog", false},
}

type object = map[string]any

// sim is a simulated member: an HTTP server that answers as the API server of a cluster with Meshlift's agent does, for the few
// requests that the hub makes. It keeps what the hub applies, and plays the agent that has seen it at once.
type sim struct {
	*httptest.Server
	// hang makes it accept requests and never answer them.
	hang chan struct{}
	end  chan struct{}

	mu      sync.Mutex
	version int
	objects map[string][]object // by plural
	watches map[chan []byte]string
}

func newSim(n int) (*sim, error) {
	s := &sim{hang: make(chan struct{}), end: make(chan struct{}), version: 1, objects: map[string][]object{}, watches: map[chan []byte]string{}}
	one := int32(1)
	agent := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "asm-controller", Generation: 1}}
	agent.Spec.Replicas = &one
	agent.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	plane := &v1alpha1.ControlPlane{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ControlPlane"}, ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName, Generation: 1}}
	plane.Status.ObservedGeneration = 1
	plane.Status.Revisions = []v1alpha1.RevisionStatus{{Name: "1-30", Version: "1.30.0", Sidecars: 200, UpgradeTo: []string{"1.31"}}}
	if n%10 == 0 { // in the middle of an upgrade
		plane.Status.Revisions = append(plane.Status.Revisions, v1alpha1.RevisionStatus{Name: "1-31", Version: "1.31.0", Sidecars: 100})
	}
	system := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}
	for plural, o := range map[string]any{"deployments": agent, "controlplanes": plane, "namespaces": system} {
		if err := s.put(plural, o); err != nil {
			return nil, err
		}
	}
	for f := range 10 {
		s.objects["envoyfilters"] = append(s.objects["envoyfilters"], object{
			"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
			"metadata": object{"namespace": "istio-system", "name": fmt.Sprintf("filter-%d", f), "uid": fmt.Sprintf("filter-%d-%d", n, f), "resourceVersion": "1", "labels": object{"owner": "team"}},
			"spec":     object{"configPatches": []any{object{"applyTo": "CLUSTER", "patch": object{"operation": "MERGE", "value": object{"connect_timeout": "3s"}}}}},
		})
	}
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.StartTLS()
	return s, nil
}

func (s *sim) put(plural string, typed any) error {
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return fmt.Errorf("encode a simulated object: %w", err)
	}
	metadata(o)["uid"], metadata(o)["resourceVersion"] = plural+"-"+fmt.Sprint(metadata(o)["name"]), "1"
	s.objects[plural] = append(s.objects[plural], o)
	return nil
}

func metadata(o object) object {
	m, _ := o["metadata"].(object)
	if m == nil {
		m = object{}
		o["metadata"] = m
	}
	return m
}

func (s *sim) close() {
	close(s.end)
	s.Close()
}

func (s *sim) kubeconfig() ([]byte, error) {
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: authority(s.Server)}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "simulated"}
	c.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "x"
	return clientcmd.Write(*c)
}

func (s *sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-s.hang:
		select {
		case <-s.end:
		case <-r.Context().Done():
		}
		return
	default:
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/readyz":
		_, _ = io.WriteString(w, "ok")
	case r.URL.Path == "/version":
		answer(w, http.StatusOK, object{"major": "1", "minor": "37", "gitVersion": "v1.37.2"})
	case len(parts) == 1:
		discover(w, parts[0])
	case len(parts) == 2 && parts[0] == "api":
		kinds(w, "", parts[1])
	case len(parts) == 3 && parts[0] == "apis":
		kinds(w, parts[1], parts[2])
	case parts[0] == "api":
		s.serve(w, r, "", parts[2:])
	case parts[0] == "apis" && len(parts) > 3:
		s.serve(w, r, parts[1], parts[3:])
	default:
		notFound(w)
	}
}

// serve answers a request for objects; path begins with "namespaces/NAME" or the plural.
func (s *sim) serve(w http.ResponseWriter, r *http.Request, group string, path []string) {
	namespace := ""
	if len(path) > 2 && path[0] == "namespaces" {
		namespace, path = path[1], path[2:]
	}
	known, ok := find(group, path[0])
	name := ""
	if len(path) > 1 {
		name = path[1]
	}
	switch {
	case !ok:
		notFound(w)
	case r.Method == http.MethodPatch && name != "":
		s.patch(w, r, known, name)
	case r.Method != http.MethodGet:
		answer(w, http.StatusMethodNotAllowed, status(http.StatusMethodNotAllowed, "MethodNotAllowed"))
	case r.URL.Query().Get("sendInitialEvents") != "":
		answer(w, http.StatusUnprocessableEntity, status(http.StatusUnprocessableEntity, "Invalid")) // a list comes first, as with an older server
	case r.URL.Query().Get("watch") != "":
		s.watch(w, r, known.plural)
	default:
		s.read(w, known, namespace, name)
	}
}

func find(group, plural string) (resource, bool) {
	for _, r := range resources {
		if r.group == group && r.plural == plural {
			return r, true
		}
	}
	return resource{}, false
}

func (s *sim) read(w http.ResponseWriter, r resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []object{}
	for _, o := range s.objects[r.plural] {
		if in := metadata(o)["namespace"]; namespace != "" && in != namespace {
			continue
		}
		if name != "" && metadata(o)["name"] == name {
			answer(w, http.StatusOK, o)
			return
		}
		items = append(items, o)
	}
	if name != "" {
		notFound(w)
		return
	}
	answer(w, http.StatusOK, object{"apiVersion": r.apiVersion(), "kind": r.kind + "List", "metadata": object{"resourceVersion": fmt.Sprint(s.version)}, "items": items})
}

// patch merges what the hub applies into the object, or makes it.
func (s *sim) patch(w http.ResponseWriter, r *http.Request, known resource, name string) {
	var change object
	if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
		answer(w, http.StatusBadRequest, status(http.StatusBadRequest, "BadRequest"))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var o object
	for _, x := range s.objects[known.plural] {
		if metadata(x)["name"] == name {
			o = x
		}
	}
	kind := "MODIFIED"
	if o == nil {
		kind, o = "ADDED", object{"metadata": object{"name": name, "uid": known.plural + "-" + name, "creationTimestamp": time.Now().UTC().Format(time.RFC3339)}}
		s.objects[known.plural] = append(s.objects[known.plural], o)
	}
	before, _ := json.Marshal(o["spec"])
	merge(o, change)
	if after, _ := json.Marshal(o["spec"]); string(before) != string(after) || kind == "ADDED" {
		s.version++
		m := metadata(o)
		generation, _ := m["generation"].(int64)
		m["generation"], m["resourceVersion"] = generation+1, fmt.Sprint(s.version)
		if st, ok := o["status"].(object); ok {
			st["observedGeneration"] = m["generation"]
		}
		event, _ := json.Marshal(object{"type": kind, "object": o})
		for events, plural := range s.watches {
			if plural == known.plural {
				events <- append(event, '\n')
			}
		}
	}
	answer(w, http.StatusOK, o)
}

func merge(into, change object) {
	for key, value := range change {
		a, ok := into[key].(object)
		b, both := value.(object)
		if ok && both {
			merge(a, b)
		} else if value == nil {
			delete(into, key)
		} else {
			into[key] = value
		}
	}
}

func (s *sim) watch(w http.ResponseWriter, r *http.Request, plural string) {
	events := make(chan []byte, 1000)
	s.mu.Lock()
	s.watches[events] = plural
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watches, events)
	}()
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case <-s.end:
			return
		case <-s.hang: // a connection that says nothing any more
			<-r.Context().Done()
			return
		case <-r.Context().Done():
			return
		case e := <-events:
			_, _ = w.Write(e)
			_ = flush.Flush()
		}
	}
}

func discover(w http.ResponseWriter, root string) {
	if root == "api" {
		answer(w, http.StatusOK, object{"kind": "APIVersions", "versions": []string{"v1"}})
		return
	}
	groups, seen := []object{}, map[string]bool{"": true}
	for _, r := range resources {
		if !seen[r.group] {
			seen[r.group] = true
			v := object{"groupVersion": r.apiVersion(), "version": r.version}
			groups = append(groups, object{"name": r.group, "versions": []object{v}, "preferredVersion": v})
		}
	}
	answer(w, http.StatusOK, object{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

func kinds(w http.ResponseWriter, group, version string) {
	list := []object{}
	for _, r := range resources {
		if r.group == group && r.version == version {
			list = append(list, object{"name": r.plural, "singularName": "", "kind": r.kind, "namespaced": r.namespaced, "verbs": []string{"get", "list", "watch", "patch"}})
		}
	}
	if len(list) == 0 {
		notFound(w)
		return
	}
	answer(w, http.StatusOK, object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": strings.TrimPrefix(group+"/"+version, "/"), "resources": list})
}

func answer(w http.ResponseWriter, code int, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

func notFound(w http.ResponseWriter) {
	answer(w, http.StatusNotFound, status(http.StatusNotFound, "NotFound"))
}

func status(code int, reason string) object {
	return object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": strings.ToLower(reason)}
}
