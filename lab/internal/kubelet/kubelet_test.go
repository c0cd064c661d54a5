package kubelet_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func netipAddrPort(ip netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(ip, port) }

func simplePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: appImage,
			ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8080)}}},
		}}},
	}
}

// TestKubelet runs every behaviour on one real control plane.
func TestKubelet(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct {
		name string
		run  func(*testCluster)
	}{
		{"pod, Service and DNS", testService},
		{"logs, exec and port-forward", testStreams},
		{"crash and restart", testCrash},
		{"deletion", testDeletion},
		{"volumes and environment", testVolumes},
		{"init containers and sidecars", testSidecars},
		{"jobs and unknown images", testPhases},
		{"probes and hooks", testProbes},
	} {
		t.Run(test.name, func(t *testing.T) {
			copied := *c
			copied.t = t
			test.run(&copied)
		})
	}
}

func testService(c *testCluster) {
	begin := time.Now()
	c.create(simplePod("web"))
	_, err := c.client.CoreV1().Services("default").Create(c.t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	check(c.t, err)
	p := c.awaitPod("web", "is ready", ready)
	c.t.Logf("ready after %s", time.Since(begin).Round(time.Millisecond))
	if p.Spec.NodeName != "node-0" || p.Status.Phase != corev1.PodRunning || !strings.HasPrefix(p.Status.PodIP, "10.128.1.") {
		c.t.Errorf("node %s, phase %s, IP %s", p.Spec.NodeName, p.Status.Phase, p.Status.PodIP)
	}
	s, err := c.client.CoreV1().Services("default").Get(c.t.Context(), "web", metav1.GetOptions{})
	check(c.t, err)
	took := c.eventually("ClusterIP from the root namespace", func() error { return expect("web", "http://"+s.Spec.ClusterIP) })
	c.t.Logf("ClusterIP after %s more", took.Round(time.Millisecond))
	begin = time.Now()
	c.create(simplePod("client"))
	p = c.awaitPod("client", "is ready", ready)
	c.t.Logf("second pod ready after %s", time.Since(begin).Round(time.Millisecond))
	for _, url := range []string{"http://" + s.Spec.ClusterIP, "http://web", "http://web.default.svc", "http://web.default.svc.cluster.local"} {
		c.eventually("from a pod by "+url, func() error { return expect("web", "http://"+p.Status.PodIP+":8080/get?url="+url) })
	}
	if got, err := get("http://" + p.Status.PodIP + ":8080/get?url=http://nobody.example"); err != nil || !strings.Contains(got, "no such host") {
		c.t.Errorf("unknown host: %q, %v", got, err)
	}
	check(c.t, c.client.CoreV1().Services("default").Delete(c.t.Context(), "web", metav1.DeleteOptions{}))
	c.eventually("the ClusterIP goes", func() error {
		if conn, err := net.DialTimeout("tcp", s.Spec.ClusterIP+":80", time.Second); err == nil {
			conn.Close()
			return fmt.Errorf("still there")
		}
		return nil
	})
}

func expect(want, url string) error {
	got, err := get(url)
	if err == nil && got != want {
		err = fmt.Errorf("%s answers %q, not %q", url, got, want)
	}
	return err
}

func testStreams(c *testCluster) {
	out, err := c.kubectl("", "logs", "web", "--tail=2")
	if err != nil || (out != "started \non stderr\n" && out != "on stderr\nstarted \n") {
		c.t.Errorf("logs: %q, %v", out, err)
	}
	out, err = c.kubectl("hello", "exec", "-i", "web", "--", "sh", "-c", "cat; hostname; exit 0")
	if err != nil || !strings.HasPrefix(out, "hello") {
		c.t.Errorf("exec: %q, %v", out, err)
	}
	if _, err = c.kubectl("", "exec", "web", "--", "sh", "-c", "echo bad >&2; exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "bad") {
		c.t.Errorf("exit code: %v", err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	forward := exec.CommandContext(ctx, c.kube, "kubectl", "--kubeconfig", c.config, "port-forward", "pod/web", ":8080")
	stdout, err := forward.StdoutPipe()
	check(c.t, err)
	check(c.t, forward.Start())
	buffer := make([]byte, 200)
	n, err := stdout.Read(buffer)
	if err != nil && err != io.EOF {
		c.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(buffer[:n]), "127.0.0.1:")
	port, _, _ := strings.Cut(rest, " ")
	check(c.t, expect("web", "http://127.0.0.1:"+port))
	cancel()
	_ = forward.Wait() // killed
	// follow ends when the pod does
	follow := exec.CommandContext(c.t.Context(), c.kube, "kubectl", "--kubeconfig", c.config, "logs", "-f", "client")
	lines, err := follow.StdoutPipe()
	check(c.t, err)
	check(c.t, follow.Start())
	n, err = lines.Read(buffer) // it follows now
	check(c.t, err)
	check(c.t, c.client.CoreV1().Pods("default").Delete(c.t.Context(), "client", metav1.DeleteOptions{}))
	text, err := io.ReadAll(lines)
	check(c.t, err)
	check(c.t, follow.Wait())
	if !strings.Contains(string(text), "got SIGTERM") {
		c.t.Errorf("followed log: %q", string(buffer[:n])+string(text))
	}
}

func testCrash(c *testCluster) {
	p := c.pod("web")
	_, _ = get("http://" + p.Status.PodIP + ":8080/die") // it does
	p = c.awaitPod("web", "is restarted", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
	s := p.Status.ContainerStatuses[0]
	if t := s.LastTerminationState.Terminated; t == nil || t.ExitCode != 3 || t.Reason != "Error" {
		c.t.Errorf("last state %+v", s.LastTerminationState)
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(s.ContainerID, "process://"))
	check(c.t, err)
	check(c.t, syscall.Kill(pid, syscall.SIGKILL))
	p = c.awaitPod("web", "is restarted again", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 2 })
	if t := p.Status.ContainerStatuses[0].LastTerminationState.Terminated; t == nil || t.ExitCode != 137 {
		c.t.Errorf("last state %+v", p.Status.ContainerStatuses[0].LastTerminationState)
	}
	if out, err := c.kubectl("", "logs", "web", "--previous"); err != nil || !strings.Contains(out, "started") {
		c.t.Errorf("previous logs: %q, %v", out, err)
	}
}

func testDeletion(c *testCluster) {
	stubborn := simplePod("stubborn")
	stubborn.Spec.Containers[0].Command = []string{"sh", "-c", "trap '' TERM; while :; do sleep 1; done"}
	stubborn.Spec.Containers[0].ReadinessProbe = nil
	c.create(stubborn)
	c.awaitPod("stubborn", "is ready", ready)
	for name, limits := range map[string][2]time.Duration{"web": {300 * time.Millisecond, 3 * time.Second}, "stubborn": {2 * time.Second, 5 * time.Second}} {
		grace := int64(2)
		begin := time.Now()
		check(c.t, c.client.CoreV1().Pods("default").Delete(c.t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &grace}))
		c.eventually(name+" goes", func() error {
			_, err := c.client.CoreV1().Pods("default").Get(c.t.Context(), name, metav1.GetOptions{})
			if err != nil {
				return nil
			}
			return fmt.Errorf("still there")
		})
		if took := time.Since(begin); took < limits[0] || took > limits[1] {
			c.t.Errorf("%s ended after %s, not between %s and %s", name, took, limits[0], limits[1])
		}
	}
}

func testPhases(c *testCluster) {
	job := func(name, script string, policy corev1.RestartPolicy) {
		p := simplePod(name)
		p.Spec.Containers[0].Command, p.Spec.Containers[0].ReadinessProbe = []string{"sh", "-c", script}, nil
		p.Spec.RestartPolicy = policy
		c.create(p)
	}
	job("good", "echo done > /dev/termination-log", corev1.RestartPolicyNever)
	job("bad", "exit 5", corev1.RestartPolicyNever)
	job("retry", "exit 6", corev1.RestartPolicyOnFailure)
	simulated := simplePod("simulated")
	simulated.Spec.RestartPolicy = corev1.RestartPolicyNever
	simulated.Spec.Containers[0].Args, simulated.Spec.Containers[0].ReadinessProbe = []string{"simulated", "x"}, nil
	c.create(simulated)
	unknown := simplePod("unknown")
	unknown.Spec.NodeName = "node-0"
	unknown.Spec.Containers[0].Image = "nobody/knows:1"
	c.create(unknown)
	for name, phase := range map[string]corev1.PodPhase{"good": corev1.PodSucceeded, "bad": corev1.PodFailed, "simulated": corev1.PodSucceeded} {
		p := c.awaitPod(name, "ends", func(p *corev1.Pod) bool { return p.Status.Phase == phase })
		if name == "good" && p.Status.ContainerStatuses[0].State.Terminated.Message != "done\n" {
			c.t.Errorf("termination message: %+v", p.Status.ContainerStatuses[0].State)
		}
	}
	c.awaitPod("retry", "is retried", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodRunning && p.Status.ContainerStatuses[0].RestartCount >= 2
	})
	c.awaitPod("unknown", "says so", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			strings.HasPrefix(p.Status.ContainerStatuses[0].State.Waiting.Reason, "ErrImagePull")
	})
	c.eventually("event of the unknown image", func() error {
		list, err := c.client.CoreV1().Events("default").List(c.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=unknown,reason=Failed"})
		if err == nil && len(list.Items) == 0 {
			err = fmt.Errorf("none")
		}
		return err
	})
	_, err := c.kubectl("", "delete", "pod", "good", "bad", "retry", "simulated", "unknown", "--timeout=10s")
	check(c.t, err)
}
