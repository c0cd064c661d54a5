package kubelet_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"meshlift.dev/meshlift/lab/internal/clusterdns"
	"meshlift.dev/meshlift/lab/internal/container"
	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/kubelet"
	"meshlift.dev/meshlift/lab/internal/layout"
	"meshlift.dev/meshlift/lab/internal/nstest"
	"meshlift.dev/meshlift/lab/internal/podnet"
	"meshlift.dev/meshlift/lab/internal/serviceproxy"
)

// appCommand makes the test binary the application that runs in the tests' pods.
const appCommand = "test-app"

// appImage is that application's image.
const appImage = "lab.meshlift.dev/test-app:1"

func TestMain(m *testing.M) {
	if container.Main() {
		return
	}
	if len(os.Args) > 1 && os.Args[1] == appCommand {
		app()
		return
	}
	os.Exit(nstest.Main(m))
}

// app serves its host name, its files and its death over HTTP.
func app() {
	fmt.Println("started", strings.Join(os.Args[2:], " "))
	fmt.Fprintln(os.Stderr, "on stderr")
	name, _ := os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, r.FormValue("name")) })
	mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		text, err := get(r.FormValue("url"))
		if err != nil {
			text = err.Error()
		}
		fmt.Fprint(w, text)
	})
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		fmt.Println("got SIGTERM")
		time.Sleep(300 * time.Millisecond)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", mux))
	os.Exit(1)
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

// testCluster is a real control plane with one process node.
type testCluster struct {
	t      *testing.T
	client kubernetes.Interface
	kube   string // the multi-call binary
	config string // kubeconfig
}

func newCluster(t *testing.T) *testCluster {
	t.Helper()
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	lab, err := layout.Find()
	if err != nil {
		t.Skip(err)
	}
	c := &testCluster{t: t, kube: lab.Bin("kube"), config: filepath.Join(t.TempDir(), "kubeconfig")}
	if _, err := os.Stat(c.kube); err != nil {
		t.Skip("the lab is not built: ", err)
	}
	self, err := os.Executable()
	check(t, err)
	images := []container.Image{{
		Repository: "lab.meshlift.dev/test-app", Files: map[string]string{"/usr/local/bin/app": self},
		Entrypoint: []string{"/usr/local/bin/app", appCommand}, Env: map[string]string{"FROM_IMAGE": "yes"}, Simulated: []string{"simulated"},
	}}
	network, err := podnet.New(0)
	check(t, err)
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	begin := time.Now()
	plane, err := controlplane.Start(t.Context(), controlplane.Config{Name: "test", Dir: dir, Kube: c.kube, Images: images, Nodes: 1, Log: log})
	check(t, err)
	t.Cleanup(plane.Stop)
	t.Logf("control plane started in %s", time.Since(begin).Round(time.Millisecond))
	check(t, plane.WriteKubeconfig(c.config, plane.Addresses().Server()))
	c.client, err = kubernetes.NewForConfig(plane.REST())
	check(t, err)
	c.run(plane, network, images, self, log)
	return c
}

// run starts the node, the service proxy and the DNS server, and stops them at the end of the test.
func (c *testCluster) run(plane *controlplane.Cluster, network *podnet.Network, images []container.Image, self string, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	part := func(run func() error) {
		parts.Go(func() {
			if err := run(); err != nil {
				c.t.Error(err)
			}
		})
	}
	c.t.Cleanup(func() {
		begin := time.Now()
		cancel()
		parts.Wait()
		c.t.Logf("stopped in %s", time.Since(begin).Round(time.Millisecond))
		check(c.t, network.Close())
	})
	cert, key, ca := plane.KubeletFiles()
	part(func() error {
		return kubelet.Run(ctx, kubelet.Config{
			Cluster: "test", REST: plane.REST(), NodeName: "node-0", StateDir: c.t.TempDir(), LogDir: c.t.TempDir(), Images: images,
			Network: network, DNS: plane.Addresses().DNS(), ClusterDomain: "cluster.local",
			TLSCert: cert, TLSKey: key, ClientCA: ca, Executable: self, Log: log,
		})
	})
	part(func() error { return serviceproxy.Run(ctx, plane.REST(), log) })
	part(func() error {
		return clusterdns.Run(ctx, plane.REST(), netipAddrPort(plane.Addresses().DNS(), 53), log)
	})
	c.eventually("service account", func() error {
		_, err := c.client.CoreV1().ServiceAccounts("default").Get(c.t.Context(), "default", metav1.GetOptions{})
		return err
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until f succeeds.
func (c *testCluster) eventually(what string, f func() error) time.Duration {
	c.t.Helper()
	begin := time.Now()
	for {
		err := f()
		if err == nil {
			return time.Since(begin)
		}
		if time.Since(begin) > 30*time.Second {
			c.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (c *testCluster) create(p *corev1.Pod) *corev1.Pod {
	c.t.Helper()
	created, err := c.client.CoreV1().Pods(p.Namespace).Create(c.t.Context(), p, metav1.CreateOptions{})
	check(c.t, err)
	return created
}

func (c *testCluster) pod(name string) *corev1.Pod {
	c.t.Helper()
	p, err := c.client.CoreV1().Pods("default").Get(c.t.Context(), name, metav1.GetOptions{})
	check(c.t, err)
	return p
}

// awaitPod waits for a state of a pod and returns it.
func (c *testCluster) awaitPod(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	c.t.Helper()
	var p *corev1.Pod
	c.eventually(name+" "+what, func() error {
		if p = c.pod(name); ok(p) {
			return nil
		}
		return fmt.Errorf("phase %s, conditions %v, containers %v %v", p.Status.Phase, p.Status.Conditions, p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
	})
	return p
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// kubectl runs the real kubectl and returns its output.
func (c *testCluster) kubectl(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), c.kube, append([]string{"kubectl", "--kubeconfig", c.config}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("kubectl %v: %w: %s", args, err, errs.String())
	}
	return out.String(), err
}
