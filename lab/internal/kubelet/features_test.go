package kubelet_test

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testVolumes(c *testCluster) {
	maps := c.client.CoreV1().ConfigMaps("default")
	_, err := maps.Create(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"color": "red", "key": "k"}}, metav1.CreateOptions{})
	check(c.t, err)
	_, err = c.client.CoreV1().Secrets("default").Create(c.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hidden"}, StringData: map[string]string{"word": "sesame"}}, metav1.CreateOptions{})
	check(c.t, err)
	yes, seconds := true, int64(3600)
	p := simplePod("files")
	p.Annotations = map[string]string{"note": "first"}
	p.Spec.Volumes = []corev1.Volume{
		{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}},
		{Name: "missing", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "nowhere", Optional: &yes}}},
		{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "istio-ca", ExpirationSeconds: &seconds}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "annotations", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations"}}}}},
			{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "hidden"}, Items: []corev1.KeyToPath{{Key: "word", Path: "deep/er/word"}}}},
		}}}},
	}
	app := &p.Spec.Containers[0]
	app.VolumeMounts = []corev1.VolumeMount{
		{Name: "settings", MountPath: "/settings"},
		{Name: "settings", MountPath: "/one/color", SubPath: "color"},
		{Name: "missing", MountPath: "/missing"},
		{Name: "scratch", MountPath: "/scratch"},
		{Name: "all", MountPath: "/scratch/all"},
	}
	app.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	app.Env = []corev1.EnvVar{
		{Name: "WORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "hidden"}, Key: "word"}}},
		{Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
		{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}}},
		{Name: "MEMORY", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
		{Name: "BOTH", Value: "$(WORD)-$(LABEL)-$(UNKNOWN)"},
	}
	app.EnvFrom = []corev1.EnvFromSource{{Prefix: "S_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
	app.Args = []string{"$(BOTH)"}
	c.create(p)
	p = c.awaitPod("files", "is ready", ready)
	url := "http://" + p.Status.PodIP + ":8080"
	env, err := get(url + "/env")
	check(c.t, err)
	for _, want := range []string{"WORD=sesame", "IP=" + p.Status.PodIP, "LABEL=files", "MEMORY=64", "BOTH=sesame-files-$(UNKNOWN)", "S_color=red", "FROM_IMAGE=yes", "KUBERNETES_SERVICE_HOST=10.96.0.1"} {
		if !strings.Contains("\n"+env+"\n", "\n"+want+"\n") {
			c.t.Errorf("no %s in environment:\n%s", want, env)
		}
	}
	if out, err := c.kubectl("", "logs", "files"); err != nil || !strings.Contains(out, "started sesame-files-$(UNKNOWN)") {
		c.t.Errorf("arguments: %q, %v", out, err)
	}
	content := func(name string) string {
		text, err := get(url + "/file?name=" + name)
		if err != nil {
			return err.Error()
		}
		return text
	}
	for name, want := range map[string]string{"/settings/color": "red", "/one/color": "red", "/scratch/all/deep/er/word": "sesame", "/var/run/secrets/kubernetes.io/serviceaccount/namespace": "default"} {
		if got := content(name); got != want {
			c.t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if token := content("/scratch/all/token"); strings.Count(token, ".") != 2 {
		c.t.Errorf("token %q", token)
	}
	_, err = maps.Update(c.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"color": "blue"}}, metav1.UpdateOptions{})
	check(c.t, err)
	_, err = c.kubectl("", "annotate", "pod", "files", "note=second", "--overwrite")
	check(c.t, err)
	took := c.eventually("the updates are seen", func() error {
		if color, notes := content("/settings/color"), content("/scratch/all/annotations"); color != "blue" || !strings.Contains(notes, `note="second"`) {
			return fmt.Errorf("%q, %q", color, notes)
		}
		return nil
	})
	c.t.Logf("updates seen after %s", took.Round(time.Millisecond))
	if got := content("/settings/key"); !strings.Contains(got, "404") {
		c.t.Errorf("removed key: %q", got)
	}
}

func testSidecars(c *testCluster) {
	always := corev1.ContainerRestartPolicyAlways
	shell := func(name, script string) corev1.Container {
		return corev1.Container{Name: name, Image: appImage, Command: []string{"sh", "-c", script}, VolumeMounts: []corev1.VolumeMount{{Name: "log", MountPath: "/log"}}}
	}
	first, second := shell("first", "echo first >> /log/log"), shell("second", "echo second >> /log/log")
	sidecar := shell("sidecar", "trap 'echo sidecar-ends >> /log/log; exit 0' TERM; echo sidecar >> /log/log; touch /tmp/up; while :; do sleep 0.1; done")
	sidecar.RestartPolicy = &always
	sidecar.StartupProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/tmp/up"}}}}
	main := shell("main", "echo main >> /log/log; sleep 0.3; echo main-ends >> /log/log")
	p := simplePod("ordered")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	p.Spec.InitContainers = []corev1.Container{first, sidecar, second}
	p.Spec.Containers = []corev1.Container{main}
	p.Spec.Volumes = []corev1.Volume{{Name: "log", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	// The sidecar shows the log at its very end.
	p.Spec.InitContainers[1].Command[2] = strings.Replace(sidecar.Command[2], "exit 0", "cat /log/log; exit 0", 1)
	c.create(p)
	p = c.awaitPod("ordered", "succeeds", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	out, err := c.kubectl("", "logs", "ordered", "-c", "sidecar")
	if want := "first sidecar second main main-ends sidecar-ends"; err != nil || strings.Join(strings.Fields(out), " ") != want {
		c.t.Errorf("order %q, %v", out, err)
	}
	if s := p.Status.InitContainerStatuses; !s[0].Ready || !s[2].Ready || s[1].State.Terminated == nil {
		c.t.Errorf("init containers: %+v", s)
	}
	check(c.t, c.client.CoreV1().Pods("default").Delete(c.t.Context(), "ordered", metav1.DeleteOptions{}))
}

func testProbes(c *testCluster) {
	p := simplePod("probed")
	app := &p.Spec.Containers[0]
	app.Command = []string{"sh", "-c", "trap 'cat /tmp/hooks; exit 0' TERM; echo one; touch /tmp/live; while :; do sleep 0.1; done"}
	app.Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo post >> /tmp/hooks"}}},
		PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo pre >> /tmp/hooks"}}},
	}
	app.ReadinessProbe = nil
	app.LivenessProbe = &corev1.Probe{PeriodSeconds: 1, FailureThreshold: 2, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "-e", "/tmp/live"}}}}
	c.create(p)
	c.awaitPod("probed", "is ready", ready)
	c.eventually("the file is removed", func() error { // the shell may not have made it yet
		_, err := c.kubectl("", "exec", "probed", "--", "rm", "/tmp/live")
		return err
	})
	c.awaitPod("probed", "is restarted", func(p *corev1.Pod) bool { return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1 })
	if out, err := c.kubectl("", "logs", "probed", "--previous"); err != nil || out != "one\npost\npre\n" {
		c.t.Errorf("hooks: %q, %v", out, err)
	}
	check(c.t, c.client.CoreV1().Pods("default").Delete(c.t.Context(), "probed", metav1.DeleteOptions{}))
}
