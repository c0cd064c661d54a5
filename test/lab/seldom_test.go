package lab

import (
	"slices"
	"strings"
)

// excuse says why a role has rights that not every run of the tests uses.
type excuse struct {
	role string
	// verbs and resources ("deployments.apps"), with blanks between them.
	verbs, resources string
	why              string
}

const (
	agentRole  = "ClusterRole asm-controller"
	istioRole  = "Role istio-system/asm-controller-istio"
	hubRole    = "ClusterRole meshlift-hub"
	memberRole = "ClusterRole meshlift-hub-access"
	admission  = ".admissionregistration.k8s.io"
)

func excuses() []excuse {
	return []excuse{
		{agentRole, "escalate bind", "clusterroles.rbac.authorization.k8s.io", "the API server asks for these itself when a role of Istio is written or bound, and the audit log does not show it"},
		{istioRole, "escalate bind", "roles.rbac.authorization.k8s.io", "as for the ClusterRoles of Istio, for the Role of each istiod"},
		{agentRole, "get", "admissionclaims.meshlift.dev", "the API server asks for it itself when a policy with these parameters is written"},
		{agentRole, "update", "mutatingwebhookconfigurations" + admission, "a handover by object selectors (Kubernetes before 1.30), and one whose fields another client took over, is written by an update"},
		{agentRole, "get create patch delete", "validatingadmissionpolicies" + admission, "charts with experimental.stableValidationPolicy hold a policy; Helm reads it before it writes"},
		{agentRole, "create", "customresourcedefinitions.apiextensions.k8s.io", "a newer base chart may bring a kind that the older one did not have"},
		{agentRole, "patch", "events.events.k8s.io", "an event that happens again is counted; which do depends on the clock"},
		{agentRole, "list", kindsOfTheGatewayAPI, "checks in the agent's pod, where the Gateway API is installed before"},
		{agentRole, "delete", "clusterupgrades.meshlift.dev", "`meshlift upgrade delete` in the agent's pod"},
		{istioRole, "get create patch delete", "horizontalpodautoscalers.autoscaling", "the lab switches the autoscaling of istiod off"},
		{istioRole, "get create patch delete", "poddisruptionbudgets.policy", "the charts make one when there is more than one istiod"},
		{istioRole, "get create patch delete", "networkpolicies.networking.k8s.io", "the charts make one with global.networkPolicy.enabled"},
		{istioRole, "get create patch delete", "endpointslices.discovery.k8s.io", "the charts make one with global.remotePilotAddress"},
		{istioRole, "get create patch delete", "envoyfilters.networking.istio.io", "charts up to 1.20 hold them"},
		{istioRole, "get", "istiooperators.install.istio.io", "istioctl up to 1.23 keeps the values of an installation in one"},

		{hubRole, "patch", "events.events.k8s.io", "an event that happens again is counted; which do depends on the clock"},
		{hubRole, "patch", "meshes.hub.meshlift.dev", "an override is taken off a mesh"},
		{hubRole, "create", "meshes.hub.meshlift.dev meshupgrades.hub.meshlift.dev", "people ask for it by the API"},
		{hubRole, "delete", "memberclusters.hub.meshlift.dev", "people take a cluster out by the API"},
		{hubRole, "patch", "meshupgrades.hub.meshlift.dev", "people approve, pause and decommission by the API"},
		{hubRole, "create", "tokenreviews.authentication.k8s.io subjectaccessreviews.authorization.k8s.io", "the API asks who somebody is, and what he may do"},
		{memberRole, "delete", "clusterroles.rbac.authorization.k8s.io", "taking leave of a cluster deletes this role itself, so that nothing is left to compare with"},
		{memberRole, "get create patch delete", "clusterupgrades.meshlift.dev dataplanerollouts.meshlift.dev controlplanes.meshlift.dev catalogs.meshlift.dev", "what people ask a cluster for by the API"},
		{memberRole, "get", "statefulsets.apps daemonsets.apps deployments.apps", "whether a component is healthy, which may be of any of these kinds"},
		{memberRole, "get", "envoyfilters.networking.istio.io", "one EnvoyFilter is shown by the API"},
		{memberRole, "list", everyKindOfAnInventory, "lists of the API are read from the cluster when somebody asks"},
		{memberRole, "list get", "subscriptions.operators.coreos.com installplans.operators.coreos.com clusterserviceversions.operators.coreos.com", "clusters with the Operator Lifecycle Manager; the lab with one gives the hub other credentials"},
	}
}

const everyKindOfAnInventory = "pods namespaces services events deployments.apps statefulsets.apps daemonsets.apps replicasets.apps jobs.batch cronjobs.batch " +
	"envoyfilters.networking.istio.io gateways.gateway.networking.k8s.io rollouts.argoproj.io admissionclaims.meshlift.dev " +
	"mutatingwebhookconfigurations" + admission + " validatingwebhookconfigurations" + admission

const kindsOfTheGatewayAPI = "gatewayclasses.gateway.networking.k8s.io httproutes.gateway.networking.k8s.io grpcroutes.gateway.networking.k8s.io " +
	"tlsroutes.gateway.networking.k8s.io tcproutes.gateway.networking.k8s.io udproutes.gateway.networking.k8s.io referencegrants.gateway.networking.k8s.io"

// seldom says why an account has a right that no test of this package may use; "" when there is no reason.
func seldom(r right) string {
	resource := strings.TrimSuffix(r.resource+"."+r.group, ".")
	for _, e := range excuses() {
		if e.role == r.role && slices.Contains(strings.Fields(e.verbs), r.verb) && slices.Contains(strings.Fields(e.resources), resource) {
			return e.why
		}
	}
	return ""
}
