// Package olm reads and edits what the Operator Lifecycle Manager keeps in a cluster: subscriptions, install plans and the
// ClusterServiceVersions that they install (https://olm.operatorframework.io/docs/concepts/). It does not need Go types of OLM; a
// cluster without OLM has no subscriptions.
package olm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/component"
)

// group of OLM's kinds.
var group = schema.GroupVersion{Group: "operators.coreos.com", Version: "v1alpha1"}

// ErrOtherPlan is returned when an install plan does not install what it is to be approved for.
var ErrOtherPlan = errors.New("the install plan is another one now")

func object(kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(group.WithKind(kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// Subscriptions returns the subscriptions of the packages, in all namespaces. Without OLM there are none.
func Subscriptions(ctx context.Context, c client.Reader, packages []string) ([]component.Subscription, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(group.WithKind("SubscriptionList"))
	if err := c.List(ctx, list); meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list the subscriptions of OLM: %w", err)
	}
	var out []component.Subscription
	for n := range list.Items {
		s := subscription(&list.Items[n])
		if !slices.Contains(packages, s.Package) {
			continue
		}
		if err := complete(ctx, c, &list.Items[n], &s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func text(o *unstructured.Unstructured, at ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, at...) // what is no text is not there
	return s
}

// subscription reads what the object itself says.
func subscription(o *unstructured.Unstructured) component.Subscription {
	return component.Subscription{
		Namespace: o.GetNamespace(), Name: o.GetName(), Package: text(o, "spec", "name"), Channel: text(o, "spec", "channel"),
		Manual:    text(o, "spec", "installPlanApproval") == "Manual",
		Installed: text(o, "status", "installedCSV"), Current: text(o, "status", "currentCSV"),
	}
}

// complete reads the version that OLM goes to, and the install plan.
func complete(ctx context.Context, c client.Reader, o *unstructured.Unstructured, s *component.Subscription) error {
	if s.Current == "" {
		s.Current = s.Installed
	}
	if s.Current != "" && s.Current != s.Installed {
		csv := object("ClusterServiceVersion", s.Namespace, s.Current)
		if err := c.Get(ctx, client.ObjectKeyFromObject(csv), csv); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read ClusterServiceVersion %s/%s: %w", s.Namespace, s.Current, err)
		} else if err == nil {
			s.CurrentPhase, s.CurrentMessage = text(csv, "status", "phase"), text(csv, "status", "message")
		}
	}
	name := text(o, "status", "installPlanRef", "name")
	if name == "" {
		name = text(o, "status", "installplan", "name")
	}
	if name == "" {
		return nil
	}
	plan := object("InstallPlan", s.Namespace, name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(plan), plan); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read InstallPlan %s/%s: %w", s.Namespace, name, err)
	}
	var err error
	s.Plan, err = installPlan(ctx, c, plan)
	return err
}

func installPlan(ctx context.Context, c client.Reader, o *unstructured.Unstructured) (*component.InstallPlan, error) {
	out := &component.InstallPlan{Name: o.GetName(), Phase: text(o, "status", "phase"), Message: trouble(o)}
	out.Approved, _, _ = unstructured.NestedBool(o.Object, "spec", "approved")
	names, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "clusterServiceVersionNames")
	for _, name := range names {
		csv := object("ClusterServiceVersion", o.GetNamespace(), name)
		err := c.Get(ctx, client.ObjectKeyFromObject(csv), csv)
		switch {
		case apierrors.IsNotFound(err):
			out.New = append(out.New, name)
		case err != nil:
			return nil, fmt.Errorf("read ClusterServiceVersion %s/%s: %w", o.GetNamespace(), name, err)
		}
	}
	return out, nil
}

// trouble joins the messages of conditions that are not met.
func trouble(o *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	var out []string
	for _, c := range conditions {
		m, _ := c.(map[string]any)
		message, _ := m["message"].(string)
		if m["status"] != "True" && message != "" {
			out = append(out, message)
		}
	}
	return strings.Join(out, "; ")
}

// SetChannel changes the channel of a subscription.
func SetChannel(ctx context.Context, c client.Client, namespace, name, channel string) error {
	s := object("Subscription", namespace, name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(s), s); err != nil {
		return fmt.Errorf("read Subscription %s/%s: %w", namespace, name, err)
	}
	if text(s, "spec", "channel") == channel {
		return nil
	}
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"channel":%q}}`, s.GetResourceVersion(), channel)
	if err := c.Patch(ctx, s, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("change the channel of Subscription %s/%s: %w", namespace, name, err)
	}
	return nil
}

// Approve approves an install plan that still installs csv, else [ErrOtherPlan] is returned. An approved one is left alone.
func Approve(ctx context.Context, c client.Client, namespace, name, csv string) error {
	p := object("InstallPlan", namespace, name)
	if err := c.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
		return fmt.Errorf("read InstallPlan %s/%s: %w", namespace, name, err)
	}
	if approved, _, _ := unstructured.NestedBool(p.Object, "spec", "approved"); approved {
		return nil
	}
	names, _, _ := unstructured.NestedStringSlice(p.Object, "spec", "clusterServiceVersionNames")
	if !slices.Contains(names, csv) {
		return fmt.Errorf("approve InstallPlan %s/%s for %s: %w", namespace, name, csv, ErrOtherPlan)
	}
	// The version of the object is that of the look: a plan that changed meanwhile is not approved.
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"approved":true}}`, p.GetResourceVersion())
	if err := c.Patch(ctx, p, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		return fmt.Errorf("approve InstallPlan %s/%s: %w", namespace, name, err)
	}
	return nil
}
