package helm

import (
	"context"
	"fmt"
	"io"
	"slices"

	"helm.sh/helm/v4/pkg/kube"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// keeper is a Kubernetes client for Helm that builds some webhook configurations as they are in the cluster. The record of
// the release stays as the chart renders it.
type keeper struct {
	*kube.Client
	names []string
	rest  *rest.Config
}

// Build implements kube.Interface.
func (k *keeper) Build(reader io.Reader, validate bool) (kube.ResourceList, error) {
	list, err := k.Client.Build(reader, validate)
	if err != nil {
		return nil, err
	}
	for _, info := range list {
		if info.Mapping.GroupVersionKind.Kind == "ValidatingWebhookConfiguration" && slices.Contains(k.names, info.Name) {
			if err := k.keep(info); err != nil {
				return nil, fmt.Errorf("keep %s as it is: %w", info.Name, err)
			}
		}
	}
	return list, nil
}

func (k *keeper) keep(info *resource.Info) error {
	clients, err := kubernetes.NewForConfig(k.rest)
	if err != nil {
		return err
	}
	live, err := clients.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(context.Background(), info.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(info.Object)
	if err != nil {
		return err
	}
	var rendered admissionregistration.ValidatingWebhookConfiguration
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &rendered); err != nil {
		return err
	}
	keepFields(&rendered, live)
	if content, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&rendered); err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: content}
	object.SetGroupVersionKind(info.Mapping.GroupVersionKind)
	info.Object = object
	return nil
}

// keepFields copies what istiod and tags write from the live object: who answers, what happens when nobody does, and the
// labels by which istiod finds the object.
func keepFields(rendered, live *admissionregistration.ValidatingWebhookConfiguration) {
	for i := range rendered.Webhooks {
		for _, w := range live.Webhooks {
			if w.Name == rendered.Webhooks[i].Name {
				rendered.Webhooks[i].FailurePolicy = w.FailurePolicy
				rendered.Webhooks[i].ClientConfig = w.ClientConfig
			}
		}
	}
	for _, label := range []string{"istio.io/rev", "istio.io/tag"} {
		if v, ok := live.Labels[label]; ok {
			if rendered.Labels == nil {
				rendered.Labels = map[string]string{}
			}
			rendered.Labels[label] = v
		}
	}
}
