package lab

// sound is a namespace of the mesh about which there is nothing to say.
const sound = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/rev: 1-30}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: app, image: example.com/app:1, readinessProbe: {httpGet: {path: /, port: 8080}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: cart, namespace: shop}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: cart}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}}]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: timeout, namespace: shop}
spec: {configPatches: [{applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 3s}}}]}
`

// troubles are objects that each hold a problem, or several.
const troubles = `
apiVersion: v1
kind: Namespace
metadata: {name: dangling, labels: {istio.io/rev: 1-20}}
---
apiVersion: v1
kind: Namespace
metadata: {name: two-labels, labels: {istio.io/rev: 1-30, istio-injection: enabled}}
---
apiVersion: v1
kind: Namespace
metadata: {name: left-behind, labels: {istio.io/rev: 1-28}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-1-28, labels: {app: sidecar-injector, istio.io/rev: 1-28}}
webhooks:
- name: rev.namespace.sidecar-injector.istio.io
  clientConfig: {service: {name: istiod-1-28, namespace: istio-system, path: /inject}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  namespaceSelector: {matchLabels: {istio.io/rev: 1-28}}
  sideEffects: None
  admissionReviewVersions: [v1]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fragile, namespace: shop}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: fragile}}
  template:
    metadata:
      labels: {app: fragile}
      annotations: {sidecar.istio.io/proxyImage: "docker.io/istio/proxyv2:1.28.0", sidecar.istio.io/statsInclusionPrefixes: cluster}
    spec: {containers: [{name: app, image: example.com/app:1, lifecycle: {preStop: {exec: {command: [sleep, "60"]}}}}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: all-at-once, namespace: shop}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 100%}}
  selector: {matchLabels: {app: all-at-once}}
  template:
    metadata: {labels: {app: all-at-once}}
    spec: {containers: [{name: app, image: example.com/app:1, readinessProbe: {httpGet: {path: /, port: 8080}}}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: nobody-goes, namespace: shop}
spec: {minAvailable: 100%, selector: {matchLabels: {app: all-at-once}}}
---
apiVersion: v1
kind: Service
metadata: {name: old-only, namespace: shop}
spec: {selector: {app: cart, istio.io/rev: 1-30}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: istio-cni-node, namespace: kube-system}
spec:
  selector: {matchLabels: {k8s-app: istio-cni-node}}
  template:
    metadata: {labels: {k8s-app: istio-cni-node}}
    spec: {nodeSelector: {no: such}, containers: [{name: install-cni, image: "docker.io/istio/install-cni:1.29.2"}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: stops, namespace: shop}
spec: {configPatches: [{applyTo: CLUSTER, match: {proxy: {proxyVersion: '^1\.30.*'}}, patch: {operation: MERGE, value: {connect_timeout: 3s}}}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: no-anchor, namespace: shop}
spec: {configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: of.another.time}}}}}, patch: {operation: INSERT_BEFORE, value: {name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}}}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: of-nothing, namespace: shop}
spec: {selector: {istio: nowhere}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop, annotations: {istio.io/autoRegistrationGroup: vms}}
spec: {address: 10.9.9.9}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: tagged, namespace: shop, labels: {istio.io/rev: prod}, annotations: {networking.istio.io/service-type: ClusterIP}}
spec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: tight, namespace: istio-system}
spec: {hard: {pods: "1"}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: tight, namespace: shop}
spec: {hard: {pods: "5"}}
---
apiVersion: v1
kind: Node
metadata: {name: old-node, labels: {kubernetes.io/os: linux}}
spec: {unschedulable: true}
`

// edge are troubles about injection and gateways: most need pods that were made before the trouble was.
const edge = `
apiVersion: v1
kind: Namespace
metadata: {name: edge, labels: {istio.io/rev: 1-30}}
---
apiVersion: v1
kind: Namespace
metadata: {name: leaving, labels: {istio.io/rev: 1-30}}
---
apiVersion: v1
kind: Namespace
metadata: {name: late}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: leaver, namespace: leaving}
spec:
  selector: {matchLabels: {app: leaver}}
  template:
    metadata: {labels: {app: leaver}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: newcomer, namespace: late}
spec:
  selector: {matchLabels: {app: newcomer}}
  template:
    metadata: {labels: {app: newcomer}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sick, namespace: edge}
spec:
  selector: {matchLabels: {app: sick}}
  template:
    metadata: {labels: {app: sick}, annotations: {lab.meshlift.dev/mode: never-ready}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: no-such-template, namespace: edge}
spec:
  replicas: 0
  selector: {matchLabels: {app: no-such-template}}
  template:
    metadata: {labels: {app: no-such-template}, annotations: {inject.istio.io/templates: "sidecar,ours"}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: selected-twice, namespace: edge}
spec:
  replicas: 0
  selector: {matchLabels: {app: selected-twice}}
  template:
    metadata: {labels: {app: selected-twice}}
    spec: {containers: [{name: app, image: example.com/app:1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: unprivileged-gateway, namespace: edge}
spec:
  selector: {matchLabels: {app: unprivileged-gateway}}
  template:
    metadata: {labels: {app: unprivileged-gateway, istio: ingressgateway}}
    spec: {containers: [{name: istio-proxy, image: example.com/proxyv2:1.30.0}]}
---
apiVersion: v1
kind: Service
metadata: {name: unprivileged-gateway, namespace: edge}
spec: {selector: {app: unprivileged-gateway}, ports: [{name: http, port: 80, targetPort: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, namespace: edge}
spec:
  selector: {matchLabels: {app: gateway}}
  template:
    metadata: {labels: {app: gateway, istio: gateway}, annotations: {inject.istio.io/templates: gateway}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
---
apiVersion: v1
kind: Service
metadata: {name: gateway, namespace: edge}
spec: {selector: {app: gateway}, ports: [{name: http, port: 80, targetPort: 80}]}
`

// secondInjector selects one workload of another revision; it is not called for the pods that the other tests make.
const secondInjector = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: istio-sidecar-injector-second, labels: {app: sidecar-injector, istio.io/rev: 1-31}}
webhooks:
- name: object.sidecar-injector.istio.io
  clientConfig: {service: {name: istiod-1-31, namespace: istio-system, path: /inject}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  objectSelector: {matchLabels: {app: selected-twice}}
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
`

// last are troubles that keep others from being planted.
const last = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: policy-that-is-gone}
webhooks:
- name: pods.policy.example.com
  clientConfig: {service: {name: policy, namespace: policy}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}
  sideEffects: None
  admissionReviewVersions: [v1]
`

// invalid is stored while nobody validates.
const invalid = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: invalid, namespace: shop}
spec: {hosts: [cart], http: [{route: [{destination: {host: cart}, weight: -5}]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: unknown-type, namespace: shop}
spec: {configPatches: [{applyTo: HTTP_FILTER, match: {listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}, patch: {operation: INSERT_FIRST, value: {name: squash, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.squash.v3.Squash}}}}]}
`

// validatorOfAnotherTime refuses all configuration that names no revision, because its istiod is gone.
const validatorOfAnotherTime = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: istiod-default-validator, labels: {app: istiod, istio.io/rev: 1-28, istio.io/tag: default}}
webhooks:
- name: validation.istio.io
  clientConfig: {service: {name: istiod-1-28, namespace: istio-system, path: /validate}}
  rules: [{apiGroups: [networking.istio.io, security.istio.io], apiVersions: ["*"], operations: [CREATE, UPDATE], resources: ["*"]}]
  objectSelector: {matchExpressions: [{key: istio.io/rev, operator: DoesNotExist}]}
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
`
