package preflight

// Links that several checks share.
const (
	docsCanary    = "https://istio.io/latest/docs/setup/upgrade/canary/"
	docsInjection = "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#controlling-the-injection-policy"
	docsReleases  = "https://istio.io/latest/docs/releases/supported-releases/"
	docsWebhooks  = "https://istio.io/latest/docs/ops/common-problems/injection/"
	docsPods      = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"
	docsGateways  = "https://istio.io/latest/docs/setup/additional-setup/gateway/"
	docsCA        = "https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/"
)

// All returns every check there is, in the order in which they are shown; docs/check.md describes each.
func All() []Check {
	return []Check{
		{"upgrade-path", "The upgrade is supported", docsReleases, nil, path},
		{"node-versions", "Nodes run Kubernetes versions that the new Istio supports", docsReleases, []Source{Nodes}, nodeVersions},
		{"gateway-api-version", "The CRDs of the Gateway API are new enough for the new Istio", "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/", []Source{CRDs}, gatewayAPI},
		{"proxy-skew", "No proxy is further from its istiod than Istio supports", docsReleases + "#control-planedata-plane-skew", nil, skew},
		{"behaviour-changes", "No object is touched by a change of behaviour", "https://istio.io/latest/news/releases/", []Source{Config, Istiods}, changes},
		{"deprecated", "Nothing uses deprecated or removed annotations and APIs", "https://istio.io/latest/docs/reference/config/annotations/", []Source{Config}, deprecated},

		{"istiod-health", "Every istiod that is in use runs", docsCanary, nil, istiodHealth},
		{"istiod-capacity", "There is room for the new istiod beside the old one", "https://kubernetes.io/docs/concepts/scheduling-eviction/", []Source{Nodes, Istiods}, capacity},
		{"istiod-anti-affinity", "Rules of anti-affinity leave a node for the new istiod", "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity", []Source{Nodes, Istiods}, antiAffinity},
		{"istiod-quota", "The quota of the Istio namespace leaves room for the new istiod", "https://kubernetes.io/docs/concepts/policy/resource-quotas/", []Source{Quotas, Istiods}, istiodQuota},
		{"istiod-rehearsal", "Admission takes the new istiod's pod, by a dry run", "https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run", []Source{Rehearsal}, rehearsal},
		{"ca-root", "Both revisions sign with the same root", docsCA, []Source{Certificates}, caRoot},
		{"ca-validity", "The certificates of the CA outlive the upgrade", docsCA, []Source{Certificates}, caValidity},
		{"ambient-order", "istio-cni and ztunnel fit the new istiod", "https://istio.io/latest/docs/ambient/upgrade/helm/", []Source{Daemons}, ambientOrder},

		{"default-validator", "Configuration that names no revision is validated by an istiod that runs", docsWebhooks, nil, defaultValidator},
		{"dead-webhooks", "Every webhook that refuses on failure is answered", "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#failure-policy", []Source{Webhooks}, deadWebhooks},
		{"leftover-injectors", "No webhook is left of a revision that is gone", docsWebhooks, nil, leftoverInjectors},
		{"injector-overlap", "No pod is injected by two revisions", docsWebhooks, nil, injectorOverlap},

		{"dangling-revision", "Labels name only revisions and tags that exist", docsInjection, nil, danglingRevision},
		{"injection-labels", "No namespace has two labels for injection", docsInjection, nil, injectionLabels},
		{"lost-sidecar", "Every pod with a sidecar would get one again", docsInjection, nil, lostSidecar},
		{"not-injected", "Every pod that should have a sidecar has one", docsInjection, nil, notInjected},
		{"proxy-image", "No workload pins the image of its proxy", "https://istio.io/latest/docs/reference/config/annotations/#SidecarProxyImage", nil, proxyImage},
		{"injection-templates", "Every injection template that is asked for exists", "https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/#custom-templates-experimental", []Source{Istiods}, injectionTemplates},
		{"native-sidecars", "The proxy stays the kind of container that it is", "https://istio.io/latest/blog/2023/native-sidecars/", []Source{Nodes, Istiods}, nativeSidecars},

		{"gateway-tags", "No Gateway moves by itself when a tag moves", "https://istio.io/latest/docs/tasks/traffic-management/ingress/gateway-api/#automated-deployment", nil, gatewayTags},
		{"gateway-selectors", "Every Gateway selects pods that run", "https://istio.io/latest/docs/reference/config/networking/gateway/", []Source{Config}, gatewaySelectors},
		{"gateway-ports", "No gateway needs a port that its pods may not bind", docsGateways, []Source{Services, Templates}, gatewayPorts},
		{"service-selectors", "No Service selects pods by their revision", docsCanary, []Source{Services}, serviceSelectors},

		{"workload-health", "Every data plane is healthy", docsPods, nil, workloadHealth},
		{"single-replica", "Every data plane keeps a pod while it moves", docsPods, nil, singleReplica},
		{"max-unavailable", "No workload takes all its pods away at once", "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment", nil, maxUnavailable},
		{"readiness-probes", "Every workload says when it is ready", "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/", []Source{Templates}, readinessProbes},
		{"graceful-end", "Every pod has the time to end that it needs", docsPods + "#pod-termination", []Source{Templates}, gracefulEnd},
		{"disruption-budgets", "Every PodDisruptionBudget lets a pod go", "https://kubernetes.io/docs/tasks/run-application/configure-pdb/", []Source{Budgets, Templates}, disruptionBudgets},
		{"workload-quota", "Quotas leave room for a pod more", "https://kubernetes.io/docs/concepts/policy/resource-quotas/", []Source{Quotas, Templates}, workloadQuota},

		{"envoyfilters", "Every EnvoyFilter works with the new version as with the old", "https://istio.io/latest/docs/reference/config/networking/envoy-filter/", []Source{Config}, envoyFilters},
		{"config-admission", "The new istiod accepts the configuration that is there", "https://istio.io/latest/docs/ops/common-problems/validation/", []Source{Admission}, configAdmission},
	}
}
