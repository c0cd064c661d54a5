package workloads

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"meshlift.dev/meshlift/lab/internal/apply"
)

func TestParse(t *testing.T) {
	got, err := Parse([]string{"bookinfo", " grpc", "scale=4", "gateway", "egress", "rollouts"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Selection{Bookinfo: true, GRPC: true, Gateway: true, Egress: true, Rollouts: true, Scale: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"nosuch", "scale", "scale=", "scale=0", "scale=x", "grpc=1", ""} {
		if _, err := Parse([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestMeshLabel(t *testing.T) {
	for want, mesh := range map[string]Mesh{
		"": {}, "istio-injection: enabled": {Version: "1.30.0"}, `istio.io/rev: "1-30"`: {Version: "1.30.0", Revision: "1-30"},
	} {
		if got := mesh.Label(); got != want {
			t.Errorf("%+v: got %q, want %q", mesh, got, want)
		}
	}
}

func TestManifestsRender(t *testing.T) {
	for _, label := range []string{"", `istio.io/rev: "1-30"`, "istio-injection: enabled"} {
		for name, want := range map[string]int{"bookinfo.yaml": 1 + 4*2 + 6, "grpc.yaml": 8, "scale.yaml": 1 + 2*2} {
			b, err := render(name, values{Label: label, Namespace: "scale-0", Deployments: []string{"a", "b"}})
			if err != nil {
				t.Fatal(err)
			}
			objects, err := apply.Decode(b)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(objects) != want {
				t.Errorf("%s: %d objects, want %d", name, len(objects), want)
			}
			if labels := objects[0].GetLabels(); objects[0].GetKind() != "Namespace" || (label != "") != (len(labels) == 1) {
				t.Errorf("%s with %q: first comes %s with labels %v", name, label, objects[0].GetKind(), labels)
			}
		}
	}
}

func TestIstiodValues(t *testing.T) {
	v := istiodValues(Mesh{Version: "1.30.0", Revision: "1-30", Hub: "h", Tags: []string{"prod"}})
	if v["revision"] != "1-30" || v["global"].(map[string]any)["tag"] != "1.30.0" || v["revisionTags"].([]any)[0] != "prod" {
		t.Errorf("values %v", v)
	}
	v = istiodValues(Mesh{Version: "1.30.0"})
	if _, ok := v["revision"]; ok {
		t.Errorf("an un-revisioned istiod has a revision: %v", v)
	}
}

func TestAvailable(t *testing.T) {
	two := int32(2)
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &two}}
	d.Generation = 3
	done := appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	for name, c := range map[string]struct {
		change func(*appsv1.DeploymentStatus)
		want   bool
	}{
		"done":                  {func(*appsv1.DeploymentStatus) {}, true},
		"not observed":          {func(s *appsv1.DeploymentStatus) { s.ObservedGeneration = 2 }, false},
		"an old pod is left":    {func(s *appsv1.DeploymentStatus) { s.Replicas = 3 }, false},
		"a pod is not ready":    {func(s *appsv1.DeploymentStatus) { s.AvailableReplicas = 1 }, false},
		"a pod was not updated": {func(s *appsv1.DeploymentStatus) { s.UpdatedReplicas = 1 }, false},
	} {
		d.Status = done
		c.change(&d.Status)
		if got := available(d); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
