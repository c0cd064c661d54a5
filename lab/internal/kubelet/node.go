package kubelet

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// nodeLabel marks nodes by the way in which they run pods.
	nodeLabel = "lab.meshlift.dev/node"
	// processNode is nodeLabel's value for this kubelet's nodes.
	processNode = "process"
	// nodeTaint keeps pods away whose image the node doesn't know.
	nodeTaint = "lab.meshlift.dev/process"
	// kubeletVersion is the Kubernetes version that the node announces.
	kubeletVersion = "v1.37.2"
	// kubeletPort is where the kubelet API is served, on the gateway's address.
	kubeletPort = 10250

	leaseSeconds = 40
	leasePeriod  = 10 * time.Second
)

// machine is what containers without limits may use; the Node itself announces much more, so that
// requests made for real clusters fit.
type machine struct {
	cpus   int64
	memory int64
	kernel string
}

func inspectMachine() machine {
	m := machine{cpus: int64(runtime.NumCPU()), memory: 8 << 30, kernel: "unknown"}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "MemTotal:" {
				continue
			}
			if kib, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				m.memory = kib << 10
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.kernel = strings.TrimSpace(string(text))
	}
	return m
}

// register creates or updates the Node, makes it Ready and creates its Lease.
func (k *kubelet) register(ctx context.Context) error {
	for {
		err := k.registerOnce(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			return fmt.Errorf("register node: %w", err)
		}
		k.Log.Warn("cannot register the node yet", "error", err)
		sleep(ctx, apiRetry)
	}
}

func (k *kubelet) registerOnce(ctx context.Context) error {
	nodes := k.client.CoreV1().Nodes()
	want := k.node()
	node, err := nodes.Get(ctx, k.NodeName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		node, err = nodes.Create(ctx, want, metav1.CreateOptions{})
	case err == nil:
		node.Labels = mergeLabels(node.Labels, want.Labels)
		node.Spec.Taints = mergeTaints(node.Spec.Taints, want.Spec.Taints)
		node, err = nodes.Update(ctx, node, metav1.UpdateOptions{})
	}
	if err != nil {
		return err
	}
	node.Status = want.Status
	if _, err := nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	return k.renewOnce(ctx)
}

func (k *kubelet) node() *corev1.Node {
	now := metav1.Now()
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("256"),
		corev1.ResourceMemory:           resource.MustParse("1Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("1000"),
	}
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: k.NodeName, Labels: map[string]string{
			nodeLabel:                processNode,
			corev1.LabelHostname:     k.NodeName,
			corev1.LabelOSStable:     "linux",
			corev1.LabelArchStable:   runtime.GOARCH,
			corev1.LabelInstanceType: "process",
		}},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: nodeTaint, Effect: corev1.TaintEffectNoSchedule}}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: k.Network.Gateway().String()},
				{Type: corev1.NodeHostName, Address: k.NodeName},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
			Conditions: []corev1.NodeCondition{
				condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
				condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
				condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
				condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
			},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: kubeletVersion, ContainerRuntimeVersion: "process://1.0.0", OperatingSystem: "linux",
				Architecture: runtime.GOARCH, OSImage: "Meshlift lab", KernelVersion: k.machine.kernel,
				MachineID: k.NodeName, SystemUUID: k.NodeName, BootID: k.NodeName + now.UTC().Format("-20060102150405"),
			},
		},
	}
}

func mergeLabels(have, want map[string]string) map[string]string {
	if have == nil {
		have = map[string]string{}
	}
	for key, value := range want {
		have[key] = value
	}
	return have
}

func mergeTaints(have, want []corev1.Taint) []corev1.Taint {
	for _, w := range want {
		found := false
		for _, h := range have {
			found = found || h.MatchTaint(&w)
		}
		if !found {
			have = append(have, w)
		}
	}
	return have
}

// renewLease tells the controller manager now and then that the node lives.
func (k *kubelet) renewLease(ctx context.Context) {
	for {
		sleep(ctx, leasePeriod)
		if ctx.Err() != nil {
			return
		}
		if err := k.renewOnce(ctx); err != nil && ctx.Err() == nil {
			k.Log.Warn("cannot renew the node's lease", "error", err)
		}
	}
}

func (k *kubelet) renewOnce(ctx context.Context) error {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds, now := int32(leaseSeconds), metav1.NowMicro()
	spec := coordinationv1.LeaseSpec{HolderIdentity: &k.NodeName, LeaseDurationSeconds: &seconds, RenewTime: &now}
	lease, err := leases.Get(ctx, k.NodeName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: k.NodeName}, Spec: spec}, metav1.CreateOptions{})
	case err == nil:
		lease.Spec = spec
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}
