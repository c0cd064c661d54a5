package controlplane

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/mesh"
)

// Verify tells whether a revision is ready to take over: its Deployment is available, its webhook injects a pod in a dry
// run through the API server, and its xDS port serves. message says what is missing. An error means that it could not be
// found out.
func (s *Service) Verify(ctx context.Context, revision mesh.Revision) (ready bool, message string, err error) {
	d, err := s.deployment(ctx, revision.Name)
	if err != nil {
		return false, "", fmt.Errorf("verify istiod %s: %w", revision.Name, err)
	}
	if d == nil {
		return false, fmt.Sprintf("there is no Deployment %s/%s", s.o.Namespace, object("istiod", revision.Name)), nil
	}
	if !available(d) {
		why, err := s.diagnose(ctx, d)
		if err != nil {
			return false, "", fmt.Errorf("verify istiod %s: %w", revision.Name, err)
		}
		return false, why, nil
	}
	injector, err := s.injector(ctx, revision.Name)
	if err != nil {
		return false, "", fmt.Errorf("verify istiod %s: %w", revision.Name, err)
	}
	if injector == nil || len(injector.Webhooks) == 0 {
		return false, fmt.Sprintf("revision %s has no MutatingWebhookConfiguration", revision.Name), nil
	}
	if len(injector.Webhooks[0].ClientConfig.CABundle) == 0 {
		return false, fmt.Sprintf("istiod %s has not written its CA into the webhook %s yet", revision.Name, injector.Name), nil
	}
	if missing, err := s.injects(ctx, revision.Name); err != nil {
		return false, "", fmt.Errorf("verify istiod %s: %w", revision.Name, err)
	} else if missing != "" {
		return false, missing, nil
	}
	if err := s.o.Prober.Serves(ctx, revision); err != nil {
		return false, fmt.Sprintf("istiod %s does not serve xDS: %v", revision.Name, err), nil
	}
	return true, "", nil
}

// available tells whether the Deployment has rolled out what it asks for and at least one replica serves.
func available(d *appsv1.Deployment) bool {
	wanted := ptr.Deref(d.Spec.Replicas, 1)
	return d.Status.ObservedGeneration >= d.Generation && wanted > 0 &&
		d.Status.UpdatedReplicas >= wanted && d.Status.AvailableReplicas >= 1 && d.Status.Replicas == d.Status.UpdatedReplicas
}

// injects proves that the revision injects, by a dry run that goes through the API server and its webhooks as a real pod
// would. It returns what is missing.
func (s *Service) injects(ctx context.Context, revision string) (missing string, err error) {
	missing = "no namespace can be used for a dry run of injection: each of " + fmt.Sprint(s.o.ProbeNamespaces) + " has an injection label of its own"
	for _, name := range s.o.ProbeNamespaces {
		ns := &corev1.Namespace{}
		if err := s.o.Live.Get(ctx, client.ObjectKey{Name: name}, ns); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return "", err
		}
		_, rev := ns.Labels[mesh.LabelRev]
		_, injection := ns.Labels[mesh.LabelInjection]
		if rev || injection {
			continue
		}
		pod := probe(name, revision)
		err := s.o.Client.Create(ctx, pod, client.DryRunAll)
		if err != nil && strings.Contains(err.Error(), "cannot create resource") { // RBAC and not admission
			return "", err
		}
		if err != nil {
			missing = fmt.Sprintf("a dry run of a pod of revision %s in namespace %s was refused: %v", revision, name, err)
			continue
		}
		if got := mesh.RevisionOf(pod.Annotations); got != revision {
			missing = fmt.Sprintf("a dry run of a pod of revision %s in namespace %s was injected by %q: the webhook does not answer yet, or another one is in the way", revision, name, got)
			continue
		}
		return "", nil
	}
	return missing, nil
}

// probe is a pod that every pod security standard allows before it is injected. It is never stored.
func probe(namespace, revision string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "meshlift-probe", Namespace: namespace,
			Labels: map[string]string{mesh.LabelRev: revision, "app.kubernetes.io/name": "meshlift-probe"},
		},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: ptr.To(false),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: "registry.k8s.io/pause:3.10",
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("1m"), corev1.ResourceMemory: resource.MustParse("1Mi"),
				}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
		},
	}
}
