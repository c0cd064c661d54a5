package box

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// Status is what `lab status` shows of one lab.
type Status struct {
	State

	Running bool            `json:"running"`
	Health  []ClusterHealth `json:"health"`
}

// ClusterHealth is what a cluster answers now.
type ClusterHealth struct {
	Cluster string   `json:"cluster"`
	Error   string   `json:"error,omitempty"` // the API server does not answer
	Version string   `json:"version,omitempty"`
	Nodes   int      `json:"nodes"`
	Pods    int      `json:"pods"`
	Ready   int      `json:"ready"`
	Istiod  []string `json:"istiod,omitempty"` // revision=tag of every istiod Deployment
}

// statusTimeout bounds the questions to one cluster.
const statusTimeout = 10 * time.Second

// Statuses returns the status of every lab that has a state directory.
func Statuses(ctx context.Context, dir layout.Dir) ([]Status, error) {
	names, err := dir.Labs()
	if err != nil {
		return nil, err
	}
	all := []Status{}
	for _, name := range names {
		s, err := read(dir.Run(name))
		if err != nil {
			return nil, err
		}
		if s == nil {
			s = &State{Name: name, Dir: dir.Run(name)}
		}
		status := Status{State: *s, Running: s.PID != 0 && s.alive()}
		if status.Running {
			for _, c := range s.Clusters {
				status.Health = append(status.Health, health(ctx, c))
			}
		}
		all = append(all, status)
	}
	return all, nil
}

func health(ctx context.Context, c Cluster) ClusterHealth {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	h := ClusterHealth{Cluster: c.Name}
	if err := h.ask(ctx, c.Kubeconfig); err != nil {
		h.Error = err.Error()
	}
	return h
}

func (h *ClusterHealth) ask(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	cfg.Timeout = statusTimeout
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	version, err := kube.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("version: %w", err)
	}
	h.Version = version.GitVersion
	nodes, err := kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("nodes: %w", err)
	}
	h.Nodes = len(nodes.Items)
	pods, err := kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	h.Pods = len(pods.Items)
	for i := range pods.Items {
		if podReady(&pods.Items[i]) {
			h.Ready++
		}
	}
	istiods, err := kube.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: "app=istiod"})
	if err != nil {
		return fmt.Errorf("istiods: %w", err)
	}
	for i := range istiods.Items {
		d := &istiods.Items[i]
		for _, container := range d.Spec.Template.Spec.Containers {
			image := container.Image[strings.LastIndex(container.Image, ":")+1:]
			h.Istiod = append(h.Istiod, d.Labels["istio.io/rev"]+"="+image)
		}
	}
	slices.Sort(h.Istiod)
	return nil
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
