package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

const (
	fieldManager = "meshlift-cluster"
	// tokenLabel is on the Secrets that hold tokens of the hub's account.
	tokenLabel = "hub.meshlift.dev/token"
	// componentsBinding gives the account the rights of an administrator, which installing charts of others needs.
	componentsBinding = hub.MemberAccount + "-components"
	tokenPatience     = 30 * time.Second
)

// rules are what the hub needs in a member without upgrades of components: Meshlift's objects, what lists show, which components are
// installed, and to take itself away. Most lists are read when somebody asks, and never watched.
func rules() []*rbacv1ac.PolicyRuleApplyConfiguration {
	rule := func(group, verbs string, resources ...string) *rbacv1ac.PolicyRuleApplyConfiguration {
		return rbacv1ac.PolicyRule().WithAPIGroups(group).WithResources(resources...).WithVerbs(strings.Fields(verbs)...)
	}
	return []*rbacv1ac.PolicyRuleApplyConfiguration{
		rule("meshlift.dev", "get list watch create patch delete", "clusterupgrades"),
		rule("meshlift.dev", "get list watch create patch", "controlplanes", "dataplanerollouts", "catalogs"),
		rule("meshlift.dev", "list", "admissionclaims"),
		rule("", "list", "pods", "namespaces", "services", "events"),
		rule("", "get list", "secrets"), // where Helm keeps what is installed
		rule("operators.coreos.com", "get list", "subscriptions", "installplans", "clusterserviceversions"),
		rule("apps", "get list", "deployments", "statefulsets", "daemonsets"),
		rule("apps", "list", "replicasets"),
		rule("batch", "list", "jobs", "cronjobs"),
		rule("networking.istio.io", "get list", "envoyfilters"),
		rule("gateway.networking.k8s.io", "list", "gateways"),
		rule("argoproj.io", "list", "rollouts"),
		rule("admissionregistration.k8s.io", "list", "mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
		rule("rbac.authorization.k8s.io", "delete", "clusterroles").WithResourceNames(hub.MemberAccount),
	}
}

// account makes the account of the hub in a cluster, or repairs it, and returns a token of it: a new one when fresh, else the
// newest that is there. The ClusterRole owns everything else, so that its end is the end of all.
func account(ctx context.Context, c client.Client, namespace string, components, fresh bool) (token *corev1.Secret, err error) {
	apply := func(kind string, o runtime.ApplyConfiguration) error {
		if err := c.Apply(ctx, o, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s of the hub's account: %w", kind, err)
		}
		return nil
	}
	if err := apply("ClusterRole", rbacv1ac.ClusterRole(hub.MemberAccount).WithRules(rules()...)); err != nil {
		return nil, err
	}
	role := &rbacv1.ClusterRole{}
	if err := c.Get(ctx, client.ObjectKey{Name: hub.MemberAccount}, role); err != nil {
		return nil, fmt.Errorf("read ClusterRole %q: %w", hub.MemberAccount, err)
	}
	owner := metav1ac.OwnerReference().WithAPIVersion("rbac.authorization.k8s.io/v1").WithKind("ClusterRole").WithName(role.Name).WithUID(role.UID)
	if err := apply("ServiceAccount", corev1ac.ServiceAccount(hub.MemberAccount, namespace).WithOwnerReferences(owner)); err != nil {
		return nil, err
	}
	subject := rbacv1ac.Subject().WithKind("ServiceAccount").WithName(hub.MemberAccount).WithNamespace(namespace)
	bind := func(binding, role string) error {
		return apply("ClusterRoleBinding", rbacv1ac.ClusterRoleBinding(binding).WithOwnerReferences(owner).WithSubjects(subject).
			WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup("rbac.authorization.k8s.io").WithKind("ClusterRole").WithName(role)))
	}
	if err := bind(hub.MemberAccount, hub.MemberAccount); err != nil {
		return nil, err
	}
	if components {
		err = bind(componentsBinding, "cluster-admin")
	} else {
		err = client.IgnoreNotFound(c.Delete(ctx, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: componentsBinding}}))
	}
	if err != nil {
		return nil, err
	}
	tokens, err := tokensOf(ctx, c, namespace)
	if err != nil {
		return nil, err
	}
	if len(tokens) == 0 || fresh {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, GenerateName: hub.MemberAccount + "-token-", Labels: map[string]string{tokenLabel: hub.MemberAccount},
				Annotations:     map[string]string{corev1.ServiceAccountNameKey: hub.MemberAccount},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: role.Name, UID: role.UID}},
			},
			Type: corev1.SecretTypeServiceAccountToken,
		}
		if err := c.Create(ctx, s); err != nil {
			return nil, fmt.Errorf("create the token of the hub's account: %w", err)
		}
		tokens = []corev1.Secret{*s}
	}
	return filled(ctx, c, &tokens[len(tokens)-1])
}

// tokensOf are the Secrets with tokens of the hub's account, the newest last.
func tokensOf(ctx context.Context, c client.Client, namespace string) ([]corev1.Secret, error) {
	var list corev1.SecretList
	if err := c.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{tokenLabel: hub.MemberAccount}); err != nil {
		return nil, fmt.Errorf("list the tokens of the hub's account: %w", err)
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Secret) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return list.Items, nil
}

// filled waits until Kubernetes has put the token into its Secret
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#manually-create-a-long-lived-api-token-for-a-serviceaccount).
func filled(ctx context.Context, c client.Client, s *corev1.Secret) (*corev1.Secret, error) {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, tokenPatience, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(s), s)
		return err == nil && len(s.Data[corev1.ServiceAccountTokenKey]) > 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for the token in Secret %s/%s: %w", s.Namespace, s.Name, err)
	}
	return s, nil
}

// forgetTokens deletes the tokens of the hub's account but one, which ends their validity.
func forgetTokens(ctx context.Context, c client.Client, keep *corev1.Secret) error {
	tokens, err := tokensOf(ctx, c, keep.Namespace)
	if err != nil {
		return err
	}
	for n := range tokens {
		if tokens[n].Name == keep.Name {
			continue
		}
		if err := c.Delete(ctx, &tokens[n]); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Secret %s/%s: %w", keep.Namespace, tokens[n].Name, err)
		}
	}
	return nil
}
