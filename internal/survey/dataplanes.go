package survey

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

// DataPlanes reads what the classes of proxies depend on: pods with a proxy, Services, and the configuration of the mesh. Nothing of it
// may be missing, since it would then look like a difference or hide one.
func (s *Surveyor) DataPlanes(ctx context.Context, inv *mesh.Inventory) (*xdsdiff.Facts, error) {
	f := &xdsdiff.Facts{RootNamespace: inv.IstioNamespace}
	owners := map[[2]string]mesh.Ref{}
	for n := range inv.Workloads {
		w := &inv.Workloads[n]
		for i := range w.Pods {
			owners[[2]string{w.Namespace, w.Pods[i].Name}] = w.Ref
		}
	}
	pods := &corev1.PodList{}
	err := s.pages(ctx, pods, func() {
		for n := range pods.Items {
			p, ok := xdsdiff.ProxyOf(&pods.Items[n])
			if !ok {
				continue
			}
			if owner, ok := owners[[2]string{p.Namespace, p.Pod}]; ok {
				p.Workload = owner
			}
			f.Proxies = append(f.Proxies, p)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	services := &corev1.ServiceList{}
	err = s.pages(ctx, services, func() {
		for n := range services.Items {
			f.Services = append(f.Services, exposed(&services.Items[n]))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	config, err := s.resources(ctx, kinds())
	if err != nil {
		return nil, err
	}
	for _, r := range config {
		spec, _ := r.Content["spec"].(map[string]any)
		f.Config = append(f.Config, xdsdiff.Object{Kind: r.Kind, Group: r.Group, Namespace: r.Namespace, Name: r.Name, Spec: spec})
	}
	return f, nil
}

func exposed(s *corev1.Service) xdsdiff.Service {
	out := xdsdiff.Service{Namespace: s.Namespace, Name: s.Name, Selector: s.Spec.Selector, Headless: s.Spec.ClusterIP == corev1.ClusterIPNone}
	for _, p := range s.Spec.Ports {
		port := xdsdiff.ServicePort{Port: p.Port, Target: p.TargetPort.IntVal, Protocol: protocol(p)}
		if p.TargetPort.Type == intstr.String {
			port.TargetName = p.TargetPort.StrVal
		} else if port.Target == 0 {
			port.Target = p.Port
		}
		out.Ports = append(out.Ports, port)
	}
	return out
}

// protocol of a port (https://istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection/).
func protocol(p corev1.ServicePort) string {
	if p.AppProtocol != nil {
		return *p.AppProtocol
	}
	name, _, _ := strings.Cut(p.Name, "-")
	switch name = strings.ToLower(name); name {
	case "http", "http2", "https", "tls", "tcp", "grpc", "mongo", "mysql", "redis", "udp":
		return name
	}
	return strings.ToLower(string(p.Protocol))
}
