package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// many is the namespace of the services of [sim.services].
const many = "many"

// services gives a member an Istio 1.30 with so many services, in the middle of an upgrade to 1.31: every tenth has moved.
func (s *sim) services(n int) error {
	for _, version := range []string{"1.30.0", "1.31.0"} {
		for plural, o := range istiod(version) {
			if err := s.put(plural, o); err != nil {
				return err
			}
		}
	}
	u := &v1alpha1.ClusterUpgrade{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ClusterUpgrade"}, ObjectMeta: metav1.ObjectMeta{Name: "1-30-to-1-31", Generation: 1, CreationTimestamp: metav1.Now()},
		Spec: v1alpha1.ClusterUpgradeSpec{Version: "1.31"},
		Status: v1alpha1.ClusterUpgradeStatus{
			ObservedGeneration: 1, Step: "4/5 data planes",
			From: &v1alpha1.RevisionRef{Revision: "1-30", Version: "1.30.0"}, To: &v1alpha1.RevisionRef{Revision: "1-31", Version: "1.31.0"},
		},
	}
	for _, t := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled} {
		u.Status.Conditions = append(u.Status.Conditions, metav1.Condition{Type: t, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone, LastTransitionTime: metav1.Now()})
	}
	u.Status.Conditions = append(u.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDataPlanesMoved, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDataPlanesRemain, LastTransitionTime: metav1.Now()})
	ns := &corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: many, Labels: map[string]string{mesh.LabelRev: "1-30"}}}
	for plural, o := range map[string]any{"clusterupgrades": u, "namespaces": ns} {
		if err := s.put(plural, o); err != nil {
			return err
		}
	}
	for i := range n {
		for plural, o := range service(fmt.Sprintf("service-%05d", i), i%10 == 0) {
			if err := s.put(plural, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func istiod(version string) map[string]any {
	revision := strings.ReplaceAll(version[:4], ".", "-")
	name, one := "istiod-"+revision, int32(1)
	labels := map[string]string{"app": "istiod", mesh.LabelRev: revision}
	d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name, Labels: labels}}
	d.Spec.Replicas, d.Spec.Template.Labels = &one, labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "discovery", Image: "docker.io/istio/pilot:" + version}}
	d.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	svc := &corev1.Service{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: name, Labels: labels}, Spec: corev1.ServiceSpec{Selector: labels}}
	hook := &admissionv1.MutatingWebhookConfiguration{TypeMeta: metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "MutatingWebhookConfiguration"}, ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector-" + revision, Labels: labels}}
	hook.Webhooks = []admissionv1.MutatingWebhook{{
		Name: "rev.namespace.sidecar-injector.istio.io", ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "istio-system", Name: name}},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: revision}},
	}}
	return map[string]any{"deployments": d, "services": svc, "mutatingwebhookconfigurations": hook}
}

// service is one Deployment with one pod.
func service(name string, moved bool) map[string]any {
	one, yes := int32(1), true
	labels := map[string]string{"app": name}
	revision := "1-30"
	if moved {
		revision, labels[v1alpha1.RevisionLabel] = "1-31", "1-31"
	}
	pods := map[string]string{"app": name, "pod-template-hash": "h"}
	d := &appsv1.Deployment{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: metav1.ObjectMeta{Namespace: many, Name: name, Generation: 1}}
	d.Spec.Replicas, d.Spec.Selector, d.Spec.Template.Labels = &one, &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, labels
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
	r := &appsv1.ReplicaSet{TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"}, ObjectMeta: metav1.ObjectMeta{
		Namespace: many, Name: name + "-h", Labels: pods, OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: name, Controller: &yes}},
	}}
	r.Spec.Replicas = &one
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{
		Namespace: many, Name: name + "-h-1", Labels: pods, Annotations: map[string]string{mesh.AnnotationStatus: `{"containers":["istio-proxy"],"revision":"` + revision + `"}`},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: r.Name, Controller: &yes}},
	}}
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "example.com/app"}, {Name: "istio-proxy", Image: "docker.io/istio/proxyv2"}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
	return map[string]any{"deployments": d, "replicasets": r, "pods": p}
}

// pages measures the list of services of the last member in a browser: web/e2e/many.mjs.
func (f *fleet) pages(ctx context.Context) error {
	fmt.Printf("\nthe list of %d services in Chromium, at %s\n", f.options.services, f.member(len(f.sims)-1))
	cmd := exec.CommandContext(ctx, "node", "e2e/many.mjs")
	cmd.Dir = filepath.Join(f.lab.Root, "web")
	cmd.Env = append(os.Environ(), "MANY_URL=http://"+f.address, "MANY_TOKEN="+f.tokens[0], "MANY_CLUSTER="+f.member(len(f.sims)-1), "MANY_NAMESPACE="+many)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("measure the pages: %w", err)
	}
	return nil
}
