package component

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/olm"
)

// site is one member, ready to be asked.
type site struct {
	client client.Client
	helm   Helm
	// kubernetes asks for the version of the API server.
	kubernetes func() (string, error)
}

// visit connects with a member.
func (r *Reconciler) visit(cluster string) (*site, error) {
	c, err := r.Members.Client(cluster)
	if err != nil {
		return nil, err
	}
	config, err := r.Members.Config(cluster)
	if err != nil {
		return nil, err
	}
	h, err := r.helms.of(cluster, config, r.NewHelm)
	if err != nil {
		return nil, err
	}
	return &site{client: c, helm: h, kubernetes: func() (string, error) {
		d, err := discovery.NewDiscoveryClientForConfig(config)
		if err != nil {
			return "", err
		}
		v, err := d.ServerVersion()
		if err != nil {
			return "", err
		}
		return v.GitVersion, nil
	}}, nil
}

// gather looks at a member. That something cannot be read is a fact like others.
func (r *Reconciler) gather(ctx context.Context, mc *hub.MemberCluster, cat catalog.Catalog) (component.Input, *site) {
	in := component.Input{Catalog: cat, Requests: mc.Spec.Components, Before: mc.Status.Components, ReadyWithin: r.ReadyWithin, Trouble: r.troubles.of(mc)}
	s, err := r.visit(mc.Name)
	if err != nil {
		in.HelmProblem, in.OLMProblem, in.Mesh.Problem = err.Error(), err.Error(), err.Error()
		in.Now = r.Now()
		return in, nil
	}
	var parts sync.WaitGroup
	parts.Go(func() { in.Helm, in.HelmProblem = s.releases(ctx, mc, cat) })
	parts.Go(func() {
		var packages []string
		for _, c := range cat.Components {
			if c.OLM != nil {
				packages = append(packages, c.OLM.Package)
			}
		}
		found, err := olm.Subscriptions(ctx, s.client, packages)
		in.Subscriptions, in.OLMProblem = found, sentence(mc.Name, err)
	})
	parts.Go(func() { in.Mesh = s.mesh(ctx, mc.Name) })
	parts.Go(func() { in.Kubernetes, _ = s.kubernetes() }) // empty is not known
	parts.Wait()
	in.Now = r.Now()
	return in, s
}

func sentence(cluster string, err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("cluster %q cannot be read: %v", cluster, err)
}

// releases finds the Helm releases, and looks at the pods of those that a request has just upgraded.
func (s *site) releases(ctx context.Context, mc *hub.MemberCluster, cat catalog.Catalog) (out []component.Helm, problem string) {
	found, err := s.helm.Releases(ctx)
	if err != nil {
		return nil, sentence(mc.Name, err)
	}
	charts := map[string]string{}
	for _, c := range cat.Components {
		if c.Helm != nil {
			charts[c.Helm.Chart] = c.Name
		}
	}
	for _, f := range found {
		name, ours := charts[f.Last.Chart]
		if !ours {
			continue
		}
		h := component.Helm{Last: f.Last, Deployed: f.Deployed}
		if f.Last.Status == "deployed" && fresh(mc, name, f.Last.Labels[component.RequestLabel]) {
			health, err := s.health(ctx, f.Last.Namespace, f.Last.Name)
			if err != nil {
				return nil, sentence(mc.Name, err)
			}
			h.Health = &health
		}
		out = append(out, h)
	}
	return out, ""
}

// fresh tells whether a request made the revision and was not answered yet.
func fresh(mc *hub.MemberCluster, name, stamp string) bool {
	for _, q := range mc.Spec.Components {
		if q.Name != name || component.Stamp(q.At) != stamp {
			continue
		}
		for _, row := range mc.Status.Components {
			if row.Name == name && row.RequestedAt != nil && component.Stamp(*row.RequestedAt) == stamp {
				return row.Phase != hub.ComponentCurrent && row.Phase != hub.ComponentFailed
			}
		}
		return true
	}
	return false
}

// health looks at the workloads of a release.
func (s *site) health(ctx context.Context, namespace, name string) (component.Health, error) {
	objects, err := s.helm.Objects(ctx, namespace, name)
	if err != nil {
		return component.Health{}, err
	}
	var workloads []component.Workload
	for _, o := range objects {
		if !strings.HasPrefix(o.GetAPIVersion(), "apps/") {
			continue
		}
		w, selector, err := s.workload(ctx, o.GetKind(), client.ObjectKeyFromObject(o))
		if err != nil {
			return component.Health{}, err
		}
		if w == nil {
			continue
		}
		if !w.Done() && selector != nil {
			if w.Reasons, err = s.reasons(ctx, o.GetNamespace(), selector); err != nil {
				return component.Health{}, err
			}
		}
		workloads = append(workloads, *w)
	}
	return component.Judge(workloads), nil
}

// workload reads one object; nil for kinds that make no pods.
func (s *site) workload(ctx context.Context, kind string, key client.ObjectKey) (*component.Workload, *metav1.LabelSelector, error) {
	var w component.Workload
	var selector *metav1.LabelSelector
	var err error
	switch kind {
	case "Deployment":
		o := &appsv1.Deployment{}
		err = s.client.Get(ctx, key, o)
		w, selector = component.OfDeployment(o), o.Spec.Selector
	case "StatefulSet":
		o := &appsv1.StatefulSet{}
		err = s.client.Get(ctx, key, o)
		w, selector = component.OfStatefulSet(o), o.Spec.Selector
	case "DaemonSet":
		o := &appsv1.DaemonSet{}
		err = s.client.Get(ctx, key, o)
		w, selector = component.OfDaemonSet(o), o.Spec.Selector
	default:
		return nil, nil, nil
	}
	if apierrors.IsNotFound(err) {
		return &component.Workload{Name: kind + " " + key.String(), Missing: true}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s %s: %w", kind, key, err)
	}
	return &w, selector, nil
}

// maxReasons is how many pods are told about.
const maxReasons = 2

// reasons says of pods why they are not ready.
func (s *site) reasons(ctx context.Context, namespace string, selector *metav1.LabelSelector) ([]string, error) {
	match, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil, nil // the API server would not have taken it
	}
	var pods corev1.PodList
	if err := s.client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: match}, client.Limit(100)); err != nil {
		return nil, fmt.Errorf("list the pods of namespace %q: %w", namespace, err)
	}
	var out []string
	for n := range pods.Items {
		p := &pods.Items[n]
		if len(out) == maxReasons || p.DeletionTimestamp != nil {
			continue
		}
		var events corev1.EventList
		err := s.client.List(ctx, &events, client.InNamespace(namespace), client.Limit(100),
			client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("involvedObject.name", p.Name)})
		if err != nil {
			return nil, fmt.Errorf("list the events of pod %s/%s: %w", namespace, p.Name, err)
		}
		if why := component.PodTrouble(p, events.Items); why != "" {
			out = append(out, why)
		}
	}
	return out, nil
}

// mesh reads what the agent reports.
func (s *site) mesh(ctx context.Context, cluster string) component.Mesh {
	cp := &v1alpha1.ControlPlane{}
	err := s.client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp)
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return component.Mesh{}
	}
	var upgrades v1alpha1.ClusterUpgradeList
	err = errors.Join(err, s.client.List(ctx, &upgrades))
	if err != nil {
		return component.Mesh{Problem: sentence(cluster, err)}
	}
	out := component.Mesh{Installed: true}
	for _, r := range cp.Status.Revisions {
		out.Versions = append(out.Versions, r.Version)
	}
	if m := fleet.Observed(cluster, cp, upgrades.Items); m.Unfinished() {
		out.Upgrade = m.Upgrade.Name
	}
	return out
}
