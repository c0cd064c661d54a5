// Package apply writes Kubernetes objects by server-side apply.
package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// manager is the field manager of everything that the lab applies.
const manager = "meshlift-lab"

// resource is what discovery would tell about a kind. The lab applies a handful of kinds; knowing them saves the
// discovery of a whole API server, and works in the very second in which a CRD is being established.
type resource struct {
	plural     string
	namespaced bool
}

var resources = map[string]resource{
	"Namespace": {"namespaces", false}, "Node": {"nodes", false}, "ConfigMap": {"configmaps", true}, "Secret": {"secrets", true},
	"Service": {"services", true}, "ServiceAccount": {"serviceaccounts", true}, "Deployment": {"deployments", true},
	"ClusterRole": {"clusterroles", false}, "ClusterRoleBinding": {"clusterrolebindings", false},
	"MutatingAdmissionPolicy":        {"mutatingadmissionpolicies", false},
	"MutatingAdmissionPolicyBinding": {"mutatingadmissionpolicybindings", false},
	"CustomResourceDefinition":       {"customresourcedefinitions", false},
	"ValidatingAdmissionPolicy":      {"validatingadmissionpolicies", false}, "ValidatingAdmissionPolicyBinding": {"validatingadmissionpolicybindings", false},
	"PeerAuthentication": {"peerauthentications", true}, "DestinationRule": {"destinationrules", true},
	"VirtualService": {"virtualservices", true}, "Gateway": {"gateways", true},
	"Role": {"roles", true}, "RoleBinding": {"rolebindings", true},
}

// Namespaced tells whether objects of the kind are in namespaces.
func Namespaced(kind string) bool { return resources[kind].namespaced }

// Client applies objects to one cluster.
type Client struct{ dynamic dynamic.Interface }

// New returns a client for the cluster of cfg.
func New(cfg *rest.Config) (*Client, error) {
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return &Client{d}, nil
}

// Decode reads the objects of a YAML stream.
func Decode(stream []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("object %d: %w", len(objects)+1, err)
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
}

// YAML applies every object of a YAML stream in its order.
func (c *Client) YAML(ctx context.Context, stream []byte) error {
	objects, err := Decode(stream)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := c.Object(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// Object applies one object. It waits for a kind or namespace that is only just being created.
func (c *Client) Object(ctx context.Context, o *unstructured.Unstructured) error {
	target, err := c.resource(o)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, last = target.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		return !transient(last), nil
	})
	if last != nil {
		err = last
	}
	if err != nil {
		return fmt.Errorf("apply %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

func transient(err error) bool {
	return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) || apierrors.IsInternalError(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err)
}

func (c *Client) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	r, known := resources[o.GetKind()]
	if !known {
		return nil, fmt.Errorf("apply %s: the lab does not know this kind", o.GetKind())
	}
	gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
	if err != nil {
		return nil, fmt.Errorf("apply %s: %w", o.GetKind(), err)
	}
	of := c.dynamic.Resource(gv.WithResource(r.plural))
	if r.namespaced {
		return of.Namespace(o.GetNamespace()), nil
	}
	return of, nil
}
