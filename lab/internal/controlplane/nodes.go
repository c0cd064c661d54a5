package controlplane

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"meshlift.dev/meshlift/lab/internal/container"
)

const (
	// KubeVersion is the version of Kubernetes that the lab runs.
	KubeVersion = "v1.37.2"
	// ProcessNode is the name of the node whose pods are processes.
	ProcessNode = "node-0"

	nodeLabel = "lab.meshlift.dev/node"
	nodeTaint = "lab.meshlift.dev/process"
	// ownPrefix begins every image that exists only in the lab.
	ownPrefix = "lab.meshlift.dev/"
	// sidecarRepository is not an application: simulated pods have it too.
	sidecarRepository = "proxyv2"
)

// simNode returns the simulated node number i.
func simNode(i int) *unstructured.Unstructured {
	name := fmt.Sprintf("sim-%d", i)
	size := object{"cpu": "1000", "memory": "4Ti", "pods": "100000"}
	return &unstructured.Unstructured{Object: object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{
			"name":        name,
			"annotations": object{simNodeAnnotation: "fake"},
			"labels": object{
				"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
				"topology.kubernetes.io/zone": fmt.Sprintf("zone-%c", 'a'+i%3), nodeLabel: "simulated",
			},
		},
		"status": object{
			"allocatable": size, "capacity": size,
			"nodeInfo": object{
				"kubeletVersion": KubeVersion, "kubeProxyVersion": KubeVersion, "containerRuntimeVersion": "sim://1.0.0", "kernelVersion": "simulated",
				"osImage": "simulated", "operatingSystem": "linux", "architecture": "amd64", "machineID": name, "systemUUID": name, "bootID": name,
			},
		},
	}}
}

// processImages returns a regular expression for the images of applications that run as processes.
func processImages(images []container.Image) string {
	alternatives := []string{"^" + regexp.QuoteMeta(ownPrefix)}
	seen := map[string]bool{}
	for _, image := range images {
		repository := image.Repository
		if seen[repository] || repository == sidecarRepository || strings.HasPrefix(repository, ownPrefix) {
			continue
		}
		seen[repository] = true
		start := "^"
		if !strings.Contains(repository, "/") {
			start = "(^|/)"
		}
		alternatives = append(alternatives, start+regexp.QuoteMeta(repository)+"(:[^/]*)?(@.*)?$")
	}
	return strings.Join(alternatives, "|")
}

// placement returns the admission policy that sends pods with such images to the process node.
func placement(images []container.Image) []*unstructured.Unstructured {
	const name = "lab.meshlift.dev-process-pods"
	policy := object{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
		"metadata": object{"name": name},
		"spec": object{
			"failurePolicy": "Fail", "reinvocationPolicy": "Never",
			"matchConstraints": object{"resourceRules": []any{object{
				"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"pods"}, "operations": []any{"CREATE"},
			}}},
			"matchConditions": []any{object{
				"name":       "runs-as-process",
				"expression": fmt.Sprintf("object.spec.containers.exists(c, has(c.image) && c.image.matches(%q))", processImages(images)),
			}},
			"mutations": []any{object{
				"patchType": "JSONPatch",
				"jsonPatch": object{"expression": placementPatch},
			}},
		},
	}
	binding := object{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
		"metadata": object{"name": name},
		"spec":     object{"policyName": name},
	}
	return []*unstructured.Unstructured{{Object: policy}, {Object: binding}}
}

// placed waits until the policy of [placement] is in force: the API server learns of it by a watch, and a pod that is
// created before would be simulated although it is a process.
func (c *Cluster) placed(ctx context.Context) error {
	kube, err := kubernetes.NewForConfig(c.rest)
	if err != nil {
		return fmt.Errorf("client of %s: %w", c.cfg.Name, err)
	}
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "lab-probe"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: ownPrefix + "probe"}}},
	}
	var last error
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
		// Refused until the controller manager has made the service account of the namespace.
		var got *corev1.Pod
		got, last = kube.CoreV1().Pods(metav1.NamespaceDefault).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return last == nil && got.Spec.NodeSelector[nodeLabel] == "process", nil
	})
	if err != nil {
		return fmt.Errorf("pods that are processes are not sent to %s: %w (last answer: %v)", ProcessNode, err, last)
	}
	return nil
}

const placementPatch = `
(has(object.spec.nodeSelector)
  ? [JSONPatch{op: "add", path: "/spec/nodeSelector/" + jsonpatch.escapeKey("` + nodeLabel + `"), value: "process"}]
  : [JSONPatch{op: "add", path: "/spec/nodeSelector", value: {"` + nodeLabel + `": "process"}}])
+ (has(object.spec.tolerations)
  ? [JSONPatch{op: "add", path: "/spec/tolerations/-", value: Object.spec.tolerations{key: "` + nodeTaint + `", operator: "Exists", effect: "NoSchedule"}}]
  : [JSONPatch{op: "add", path: "/spec/tolerations", value: [Object.spec.tolerations{key: "` + nodeTaint + `", operator: "Exists", effect: "NoSchedule"}]}])
`
