package survey

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/preflight"
)

// templates reads the pod templates of those workloads that are in the inventory.
func (l *look) templates(ctx context.Context) error {
	wanted := map[mesh.Ref]bool{}
	for _, w := range l.facts.Inventory.Workloads {
		wanted[w.Ref] = true
	}
	add := func(ref mesh.Ref, t *corev1.PodTemplateSpec) {
		if name := t.Labels[mesh.LabelGatewayName]; name != "" && !wanted[ref] {
			ref = mesh.Ref{Kind: mesh.KindGateway, Namespace: ref.Namespace, Name: name}
		}
		if wanted[ref] {
			l.facts.Templates = append(l.facts.Templates, templateOf(ref, t))
		}
	}
	deployments := &appsv1.DeploymentList{}
	if err := l.pages(ctx, deployments, func() {
		for n := range deployments.Items {
			d := &deployments.Items[n]
			add(mesh.Ref{Kind: mesh.KindDeployment, Namespace: d.Namespace, Name: d.Name}, &d.Spec.Template)
		}
	}); err != nil {
		return err
	}
	statefulSets := &appsv1.StatefulSetList{}
	if err := l.pages(ctx, statefulSets, func() {
		for n := range statefulSets.Items {
			s := &statefulSets.Items[n]
			add(mesh.Ref{Kind: mesh.KindStatefulSet, Namespace: s.Namespace, Name: s.Name}, &s.Spec.Template)
		}
	}); err != nil {
		return err
	}
	daemonSets := &appsv1.DaemonSetList{}
	return l.pages(ctx, daemonSets, func() {
		for n := range daemonSets.Items {
			d := &daemonSets.Items[n]
			add(mesh.Ref{Kind: mesh.KindDaemonSet, Namespace: d.Namespace, Name: d.Name}, &d.Spec.Template)
		}
	})
}

// Defaults of the API and of Istio (terminationDrainDuration in
// https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/#ProxyConfig).
const (
	defaultGrace  = 30
	defaultDrain  = 5
	proxy         = "istio-proxy"
	lowPortSysctl = "net.ipv4.ip_unprivileged_port_start"
)

func templateOf(ref mesh.Ref, t *corev1.PodTemplateSpec) preflight.Template {
	out := preflight.Template{Ref: ref, Labels: t.Labels, Readiness: true, Grace: defaultGrace, Drain: drain(t.Annotations["proxy.istio.io/config"])}
	if g := t.Spec.TerminationGracePeriodSeconds; g != nil {
		out.Grace = *g
	}
	out.CPU, out.Memory = requests(&t.Spec)
	if sc := t.Spec.SecurityContext; sc != nil {
		out.LowPorts = slices.ContainsFunc(sc.Sysctls, func(s corev1.Sysctl) bool { return s.Name == lowPortSysctl })
	}
	out.LowPorts = out.LowPorts || t.Spec.HostNetwork || gatewayTemplate(t.Annotations[mesh.AnnotationTemplates])
	for n := range t.Spec.Containers {
		c := &t.Spec.Containers[n]
		out.LowPorts = out.LowPorts || privileged(c.SecurityContext)
		if c.Name == proxy {
			continue
		}
		out.Readiness = out.Readiness && c.ReadinessProbe != nil
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
			out.PreStop = max(out.PreStop, sleeps(c.Lifecycle.PreStop))
		}
	}
	return out
}

// gatewayTemplate tells whether Istio's own injection template of gateways is asked for, which sets the sysctl
// (manifests/charts/istio-control/istio-discovery/files/gateway-injection-template.yaml).
func gatewayTemplate(names string) bool {
	return slices.ContainsFunc(strings.Split(names, ","), func(name string) bool { return strings.TrimSpace(name) == "gateway" })
}

func privileged(s *corev1.SecurityContext) bool {
	if s == nil {
		return false
	}
	return s.RunAsUser != nil && *s.RunAsUser == 0 || s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "NET_BIND_SERVICE")
}

// sleeps is how long the hook sleeps: the field for that, or a command whose last word is a number after "sleep"; -1 when it does something else.
func sleeps(h *corev1.LifecycleHandler) int64 {
	if h.Sleep != nil {
		return h.Sleep.Seconds
	}
	if h.Exec != nil {
		words := strings.Fields(strings.Join(h.Exec.Command, " "))
		if n := slices.Index(words, "sleep"); n >= 0 && n+1 < len(words) {
			if s, err := strconv.ParseInt(strings.Trim(words[n+1], `;"'`), 10, 64); err == nil {
				return s
			}
		}
	}
	return -1
}

// drain is terminationDrainDuration in the annotation, in seconds.
func drain(annotation string) int64 {
	var config struct {
		TerminationDrainDuration string `json:"terminationDrainDuration"`
	}
	if err := yaml.Unmarshal([]byte(annotation), &config); err == nil {
		if d, err := time.ParseDuration(config.TerminationDrainDuration); err == nil {
			return int64(d.Seconds())
		}
	}
	return defaultDrain
}

func (l *look) budgets(ctx context.Context) error {
	list := &policyv1.PodDisruptionBudgetList{}
	return l.pages(ctx, list, func() {
		for n := range list.Items {
			b := &list.Items[n]
			l.facts.Budgets = append(l.facts.Budgets, preflight.Budget{
				Namespace: b.Namespace, Name: b.Name, Selector: b.Spec.Selector,
				Allowed: b.Status.DisruptionsAllowed, Expected: b.Status.ExpectedPods, Healthy: b.Status.CurrentHealthy,
			})
		}
	})
}

func (l *look) services(ctx context.Context) error {
	list := &corev1.ServiceList{}
	return l.pages(ctx, list, func() {
		for n := range list.Items {
			s := &list.Items[n]
			out := preflight.Service{Namespace: s.Namespace, Name: s.Name, Selector: s.Spec.Selector}
			for _, p := range s.Spec.Ports {
				port := p.TargetPort.IntVal
				if port == 0 && p.TargetPort.StrVal == "" {
					port = p.Port
				}
				out.TargetPorts = append(out.TargetPorts, port)
			}
			l.facts.Services = append(l.facts.Services, out)
		}
	})
}

// daemons finds istio-cni and ztunnel by the labels of their charts, which have not changed since there is ambient.
func (l *look) daemons(ctx context.Context) error {
	list := &appsv1.DaemonSetList{}
	return l.pages(ctx, list, func() {
		for n := range list.Items {
			d := &list.Items[n]
			component := ""
			switch {
			case d.Spec.Template.Labels["k8s-app"] == "istio-cni-node":
				component = "istio-cni"
			case d.Spec.Template.Labels["app"] == "ztunnel":
				component = "ztunnel"
			default:
				continue
			}
			out := preflight.Daemon{Object: preflight.Object{Kind: mesh.KindDaemonSet, Namespace: d.Namespace, Name: d.Name}, Component: component}
			if c := d.Spec.Template.Spec.Containers; len(c) > 0 {
				out.Version = mesh.VersionOfImage(c[0].Image)
			}
			l.facts.Daemons = append(l.facts.Daemons, out)
		}
	})
}

// istiods reads the Deployment of each revision, its mesh configuration and the names of its injection templates.
func (l *look) istiods(ctx context.Context) error {
	for _, r := range l.facts.Inventory.Revisions {
		d := &appsv1.Deployment{}
		if err := l.client.Get(ctx, client.ObjectKey{Namespace: l.istio, Name: r.Deployment}, d); err != nil {
			return err
		}
		i := istiodOf(r.Name, &d.Spec.Template.Spec)
		var err error
		if i.Mesh, err = l.configured(ctx, "istio", r.Name, "mesh"); err != nil {
			return err
		}
		injector, err := l.configured(ctx, "istio-sidecar-injector", r.Name, "config")
		if err != nil {
			return err
		}
		templates, _, _ := unstructured.NestedMap(injector, "templates")
		for name := range templates {
			i.Templates = append(i.Templates, name)
		}
		slices.Sort(i.Templates)
		l.facts.Istiods = append(l.facts.Istiods, i)
	}
	return nil
}

// configured decodes one entry of a ConfigMap of the revision; nil when there is none.
func (l *look) configured(ctx context.Context, name, revision, key string) (map[string]any, error) {
	if revision != mesh.DefaultRevision {
		name += "-" + revision
	}
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: l.istio, Name: name}, cm); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	data, err := yaml.YAMLToJSON([]byte(cm.Data[key]))
	if err != nil {
		return nil, nil //nolint:nilerr // istiod itself complains about it
	}
	var out map[string]any
	_ = json.Unmarshal(data, &out)
	return out, nil
}

func istiodOf(revision string, s *corev1.PodSpec) preflight.Istiod {
	i := preflight.Istiod{Revision: revision, NodeSelector: s.NodeSelector, Env: map[string]string{}}
	i.CPU, i.Memory = requests(s)
	for _, t := range s.Tolerations {
		i.Tolerations = append(i.Tolerations, preflight.Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	if s.Affinity != nil && s.Affinity.PodAntiAffinity != nil {
		for _, t := range s.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			i.Apart = append(i.Apart, preflight.Apart{Selector: t.LabelSelector, Topology: t.TopologyKey})
		}
	}
	for n := range s.Containers {
		for _, e := range s.Containers[n].Env {
			if e.ValueFrom == nil {
				i.Env[e.Name] = e.Value
			}
		}
	}
	return i
}
