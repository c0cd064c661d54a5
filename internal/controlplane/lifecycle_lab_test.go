package controlplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// installation is one way in which an old revision came into the cluster.
type installation struct {
	name     string
	revision string // as in istio.io/rev
	install  func(t *testing.T, l *lab)
	// pods are namespaces with the labels of a pod in them, all injected by the old revision.
	namespaces map[string]map[string]string
	pods       map[string]map[string]string
}

func mesh130(extra map[string]any) map[string]any {
	out := map[string]any{
		"global":     map[string]any{"hub": "docker.io/istio", "tag": "1.30.0", "meshID": "mesh-1"},
		"meshConfig": map[string]any{"accessLogFile": "/dev/stdout"},
		"pilot":      map[string]any{"env": map[string]any{"PILOT_ENABLE_STATUS": "true"}},
	}
	for k, v := range extra {
		out[k] = v
	}
	return out
}

func installations() []installation {
	revisioned := map[string]map[string]string{
		"by-revision": {"istio.io/rev": "1-30"}, "by-tag": {"istio.io/rev": "prod"}, "by-injection": {"istio-injection": "enabled"}, "by-pod": nil,
	}
	pods := map[string]map[string]string{"by-revision": nil, "by-tag": nil, "by-injection": nil, "by-pod": {"sidecar.istio.io/inject": "true"}}
	return []installation{
		{
			name: "by Helm with tags of the chart", revision: "1-30", namespaces: revisioned, pods: pods,
			install: func(t *testing.T, l *lab) {
				l.install(t, "istio-base", "base", "1.30.0", map[string]any{"defaultRevision": "1-30"})
				l.install(t, "istiod-old", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30", "revisionTags": []any{"prod", "default"}}))
				l.ready(t, "1-30")
			},
		},
		{
			name: "by Helm with tags of istioctl", revision: "1-30", namespaces: revisioned, pods: pods,
			install: func(t *testing.T, l *lab) {
				l.install(t, "istio-base", "base", "1.30.0", nil)
				l.install(t, "istiod-1-30", "istiod", "1.30.0", mesh130(map[string]any{"revision": "1-30"}))
				l.ready(t, "1-30")
				l.istioctl(t, "tag", "set", "prod", "--revision", "1-30")
				l.istioctl(t, "tag", "set", "default", "--revision", "1-30", "--overwrite")
			},
		},
		{
			name: "by istioctl with its tags", revision: "1-30", namespaces: revisioned, pods: pods,
			install: func(t *testing.T, l *lab) {
				l.istioctl(t, "install", "-y", "--set", "profile=minimal", "--revision", "1-30", "--set", "hub=docker.io/istio", "--set", "tag=1.30.0",
					"--set", "meshConfig.accessLogFile=/dev/stdout", "--set", "values.global.meshID=mesh-1", "--set", "values.pilot.env.PILOT_ENABLE_STATUS=true")
				l.ready(t, "1-30")
				l.istioctl(t, "tag", "set", "prod", "--revision", "1-30")
				l.istioctl(t, "tag", "set", "default", "--revision", "1-30", "--overwrite")
			},
		},
		{
			name: "by Helm without a revision", revision: mesh.DefaultRevision,
			namespaces: map[string]map[string]string{"by-revision": {"istio.io/rev": "default"}, "by-injection": {"istio-injection": "enabled"}, "by-pod": nil},
			pods:       map[string]map[string]string{"by-revision": nil, "by-injection": nil, "by-pod": {"sidecar.istio.io/inject": "true"}},
			install: func(t *testing.T, l *lab) {
				l.install(t, "istio-base", "base", "1.30.0", nil)
				l.install(t, "istiod", "istiod", "1.30.0", mesh130(nil))
				l.ready(t, mesh.DefaultRevision)
			},
		},
		{
			name: "by istioctl without a revision", revision: mesh.DefaultRevision,
			namespaces: map[string]map[string]string{"by-injection": {"istio-injection": "enabled"}, "by-pod": nil},
			pods:       map[string]map[string]string{"by-injection": nil, "by-pod": {"istio.io/rev": "default"}},
			install: func(t *testing.T, l *lab) {
				l.istioctl(t, "install", "-y", "--set", "profile=minimal", "--set", "hub=docker.io/istio", "--set", "tag=1.30.0",
					"--set", "meshConfig.accessLogFile=/dev/stdout", "--set", "values.global.meshID=mesh-1", "--set", "values.pilot.env.PILOT_ENABLE_STATUS=true")
				l.ready(t, mesh.DefaultRevision)
			},
		},
	}
}

func TestAnOldRevisionIsReplacedWithoutAnyPodLosingItsSidecar(t *testing.T) {
	for _, how := range installations() {
		t.Run(how.name, func(t *testing.T) {
			l := newLab(t)
			how.install(t, l)
			for name, labels := range how.namespaces {
				l.namespace(t, name, labels)
			}
			for name, labels := range how.pods {
				l.wantInjected(t, name, labels, how.revision)
			}
			l.eventually(t, "validation by the old revision", func() (bool, string) {
				_, policy := l.validator(t)
				return policy == "" || policy == admissionv1.Fail, string(policy)
			})
			from, to := mesh.Revision{Name: how.revision, Version: "1.30.0"}, mesh.Revision{Name: "1-31", Version: "1.31.0"}
			l.installBeside(t, how)
			l.switchOver(t, how, from, to)
			l.retire(t, how, from)
		})
	}
}

// installBeside installs the new revision and proves that nothing led to the old one has changed.
func (l *lab) installBeside(t *testing.T, how installation) {
	t.Helper()
	service, policy := l.validator(t)
	began := time.Now()
	report, err := l.service.Install(t.Context(), l.plan(how.revision))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("installed in %s", time.Since(began).Round(time.Millisecond))
	t.Logf("carried: %q\nchanged: %q\nnot carried: %q", report.Carried, report.Changed, report.NotCarried)
	l.ready(t, "1-31")
	r, err := l.helm.Release(t.Context(), istioSystem, "istiod-1-31")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{"global.meshID": "mesh-1", "global.hub": "docker.io/istio", "global.tag": "1.31.0", "meshConfig.accessLogFile": "/dev/stdout", "env.PILOT_ENABLE_STATUS": "true", "revision": "1-31", "revisionTags": nil} {
		var got any = r.Values
		for _, key := range strings.Split(path, ".") {
			m, _ := got.(map[string]any)
			got = m[key]
		}
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
			t.Errorf("value %s of the new revision: %s", path, diff)
		}
	}
	if s, p := l.validator(t); s != service || p != policy {
		t.Errorf("the default validator calls %s with %s, before the installation %s with %s", s, p, service, policy)
	}
	for name, labels := range how.pods {
		l.wantInjected(t, name, labels, how.revision)
	}
	again, err := l.service.Install(t.Context(), l.plan(how.revision))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, again); diff != "" {
		t.Errorf("the second report differs:\n%s", diff)
	}
	if r2, err := l.helm.Release(t.Context(), istioSystem, "istiod-1-31"); err != nil || r2.Revision != r.Revision {
		t.Errorf("the second installation wrote: revision %d became %+v, %v", r.Revision, r2, err)
	}
	other := l.plan(how.revision)
	other.Upgrade = "somebody-else"
	if _, err := l.service.Install(t.Context(), other); !refused(err, v1alpha1.ReasonRevisionConflict) {
		t.Errorf("another upgrade may install into the same revision: %v", err)
	}
}

// switchOver moves everything to the new revision while pods are created all the time.
func (l *lab) switchOver(t *testing.T, how installation, from, to mesh.Revision) {
	t.Helper()
	ctx := t.Context()
	if _, err := l.service.ScaleDown(ctx, from); !refused(err, v1alpha1.ReasonInUse) {
		t.Errorf("the old istiod may be stopped while requests are led to it: %v", err)
	}
	if err := l.service.Uninstall(ctx, from.Name); !refused(err, v1alpha1.ReasonInUse) {
		t.Errorf("the old istiod may be removed while it runs: %v", err)
	}
	stop := l.watch(t, from.Name, to.Name, how.pods)
	began := time.Now()
	done, err := l.service.Rehome(ctx, from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("rehomed in %s: %q", time.Since(began).Round(time.Millisecond), done)
	moved, err := l.service.RelabelNamespaces(ctx, from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("relabelled: %q", moved)
	bad, n := stop()
	if len(bad) > 0 {
		t.Errorf("%d of %d pods were not injected by exactly one revision: %q", len(bad), n, bad[:min(len(bad), 5)])
	}
	t.Logf("%d pods were created meanwhile", n)
	l.eventually(t, "validation by the new revision", func() (bool, string) {
		_, policy := l.validator(t)
		return policy == "" || policy == admissionv1.Fail, string(policy)
	})
	if again, err := l.service.Rehome(ctx, from, to); err != nil || len(again) > 0 {
		t.Errorf("repeated, it does something: %q, %v", again, err)
	}
	for name, labels := range how.pods {
		l.wantInjected(t, name, labels, to.Name)
	}
	if service, policy := l.validator(t); service != "" && (service != "istiod-1-31" || policy != admissionv1.Fail) {
		t.Errorf("the default validator calls %s with %s", service, policy)
	}
}

// retire stops and removes the old revision.
func (l *lab) retire(t *testing.T, how installation, from mesh.Revision) {
	t.Helper()
	ctx := t.Context()
	name := "istiod"
	if from.Name != mesh.DefaultRevision {
		name += "-" + from.Name
	}
	before := *l.deployment(t, name).Spec.Replicas
	for range 2 {
		if n, err := l.service.ScaleDown(ctx, from); err != nil || n != before {
			t.Fatalf("scaled down from %d replicas, %v; want %d", n, err, before)
		}
	}
	l.eventually(t, "the autoscaler leaves the old istiod alone", func() (bool, string) {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{}
		if err := l.Get(ctx, client.ObjectKey{Namespace: istioSystem, Name: name}, hpa); err != nil {
			return false, err.Error()
		}
		for _, c := range hpa.Status.Conditions {
			if c.Type == autoscalingv2.ScalingActive && c.Reason == "ScalingDisabled" {
				return true, ""
			}
		}
		return false, ""
	})
	if d := l.deployment(t, name); *d.Spec.Replicas != 0 {
		t.Fatalf("the old istiod has %d replicas again", *d.Spec.Replicas)
	}
	if err := l.service.ScaleUp(ctx, from, 0); err != nil {
		t.Fatal(err)
	}
	if d := l.deployment(t, name); *d.Spec.Replicas != before || d.Annotations["meshlift.dev/replicas"] != "" {
		t.Errorf("brought back, the old istiod has %d replicas and annotations %v", *d.Spec.Replicas, d.Annotations)
	}
	if _, err := l.service.ScaleDown(ctx, from); err != nil {
		t.Fatal(err)
	}
	stop := l.watch(t, "1-31", "1-31", how.pods)
	for range 2 {
		if err := l.service.Uninstall(ctx, from.Name); err != nil {
			t.Fatal(err)
		}
	}
	if bad, n := stop(); len(bad) > 0 {
		t.Errorf("%d of %d pods were not injected while the old revision went: %q", len(bad), n, bad[:min(len(bad), 5)])
	}
	l.afterwards(t, how, from, name)
}

// afterwards proves that the new revision is the only one and that nothing shared has gone.
func (l *lab) afterwards(t *testing.T, how installation, from mesh.Revision, name string) {
	t.Helper()
	ctx := t.Context()
	if l.deployment(t, name) != nil {
		t.Errorf("Deployment %s is still there", name)
	}
	remaining, err := l.service.Leftovers(ctx, from.Name)
	if err != nil || len(remaining) > 0 {
		t.Errorf("what is left of revision %s: %q, %v", from.Name, remaining, err)
	}
	leases := &coordinationv1.LeaseList{}
	if err := l.List(ctx, leases, client.InNamespace(istioSystem)); err != nil {
		t.Fatal(err)
	}
	for _, lease := range leases.Items {
		if strings.HasSuffix(lease.Name, "-"+from.Name) {
			t.Errorf("Lease %s is left", lease.Name)
		}
	}
	for _, key := range []client.ObjectKey{{Namespace: istioSystem, Name: "istio-ca-secret"}} {
		if err := l.Get(ctx, key, &corev1.Secret{}); err != nil {
			t.Errorf("the key of the CA: %v", err)
		}
	}
	for ns, labels := range how.pods {
		l.wantInjected(t, ns, labels, "1-31")
	}
	if err := l.virtualService(ctx, true); err != nil {
		t.Errorf("configuration cannot be written any more: %v", err)
	}
	if service, _ := l.validator(t); service != "" {
		if err := l.virtualService(ctx, false); err == nil || !apierrors.IsBadRequest(err) && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) && !strings.Contains(err.Error(), "denied the request") {
			t.Errorf("configuration is not validated any more: %v", err)
		}
	}
	if r, err := l.helm.Release(ctx, istioSystem, "istio-base"); err == nil && (r.ChartVersion != "1.31.0" || r.Status != "deployed") {
		t.Errorf("base is %s %s", r.ChartVersion, r.Status)
	}
}
