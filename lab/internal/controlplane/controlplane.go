// Package controlplane runs the control plane of one cluster of a lab: etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler and kwok as sub-processes of the multi-call binary `kube`, on the address of the cluster's bridge,
// with a PKI of its own. kwok simulates the nodes sim-0, sim-1 … and their pods.
package controlplane

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"meshlift.dev/meshlift/lab/internal/apply"
	"meshlift.dev/meshlift/lab/internal/container"
)

const (
	startTimeout = 5 * time.Minute
	pollInterval = 20 * time.Millisecond
)

// Config says which control plane to run.
type Config struct {
	Name   string // of the cluster and of the context in its kubeconfigs
	Index  int    // chooses the networks
	Dir    string // state: certificates, etcd, logs
	Kube   string // the multi-call binary
	Nodes  int    // simulated nodes
	Images []container.Image
	Audit  string // namespace whose service accounts are audited, "" for none
	Log    *slog.Logger
}

// Cluster is a running control plane.
type Cluster struct {
	cfg       Config
	addresses Addresses
	admin     pair
	ca        []byte
	rest      *rest.Config

	mu      sync.Mutex
	parts   []*component
	stopped bool
	revived int // how often kwok was started again
	failed  chan error
}

// Start starts the control plane and returns when its API server serves and has what must be there before the first
// pod. The other components are coming up then: see WaitHealthy. When Start fails nothing is left running; otherwise the
// caller must Stop the cluster.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, addresses: AddressesOf(cfg.Index), failed: make(chan error, 8)}
	if err := c.guard(ctx, c.start); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

// WaitHealthy waits until the controller manager and the scheduler are healthy.
func (c *Cluster) WaitHealthy(ctx context.Context) error {
	return c.guard(ctx, func(ctx context.Context) error {
		for _, part := range []struct {
			name string
			port uint16
		}{{"kube-controller-manager", portController}, {"kube-scheduler", portScheduler}} {
			if err := healthy(ctx, "https://"+c.addresses.at(part.port)+"/healthz"); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
		return nil
	})
}

// guard calls f with a context that ends after startTimeout, or when a component dies: that is the reason then.
func (c *Cluster) guard(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not healthy within %s", startTimeout))
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	go func() {
		select {
		case err := <-c.failed:
			c.failed <- err
			abort(err)
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("control plane of %s: %w", c.cfg.Name, err)
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	a, dir := c.addresses, c.cfg.Dir
	if err := c.run("etcd", etcdFlags(a, dir)); err != nil {
		return err
	}
	if err := healthy(ctx, "http://"+a.at(portEtcd)+"/health"); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if err := c.run("kube-apiserver", append(apiserverFlags(a, dir), auditFlags(c.cfg)...)); err != nil {
		return err
	}
	if err := healthy(ctx, a.Server()+"/readyz"); err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	for name, flags := range map[string][]string{
		"kube-controller-manager": controllerFlags(a, dir),
		"kube-scheduler":          schedulerFlags(a, dir),
		"kwok":                    kwokFlags(a, dir),
	} {
		if err := c.run(name, flags); err != nil {
			return err
		}
	}
	return c.bootstrap(ctx)
}

// prepare writes every file that the components need.
func (c *Cluster) prepare() error {
	if err := os.MkdirAll(c.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if err := c.writePKI(); err != nil {
		return err
	}
	config, err := stages()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(c.cfg.Dir, "stages.yaml"), config, 0o644); err != nil {
		return fmt.Errorf("kwok configuration: %w", err)
	}
	if err := writeAuditPolicy(c.cfg); err != nil {
		return err
	}
	path := filepath.Join(c.cfg.Dir, "admin.kubeconfig")
	if err := c.WriteKubeconfig(path, c.addresses.Server()); err != nil {
		return err
	}
	if c.rest, err = clientcmd.BuildConfigFromFlags("", path); err != nil {
		return fmt.Errorf("client of %s: %w", c.cfg.Name, err)
	}
	c.rest.QPS, c.rest.Burst = 500, 1000
	return nil
}

// bootstrap creates what must be there before the first pod: where process pods go, and the simulated nodes.
func (c *Cluster) bootstrap(ctx context.Context) error {
	client, err := apply.New(c.rest)
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	objects = append(objects, placement(c.cfg.Images)...)
	for i := range c.cfg.Nodes {
		objects = append(objects, simNode(i))
	}
	for _, o := range objects {
		if err := client.Object(ctx, o); err != nil {
			return err
		}
	}
	return c.placed(ctx)
}

// REST returns the administrator's access to the API server from within the lab.
func (c *Cluster) REST() *rest.Config { return rest.CopyConfig(c.rest) }

// Addresses returns the address plan of the cluster.
func (c *Cluster) Addresses() Addresses { return c.addresses }

// KubeletFiles returns the serving certificate of a kubelet on the gateway address, its key, and the CA of the API
// server's client certificate.
func (c *Cluster) KubeletFiles() (cert, key, clientCA string) {
	f := func(name string) string { return filepath.Join(c.cfg.Dir, name) }
	return f("kubelet.crt"), f("kubelet.key"), f("ca.crt")
}

// WriteKubeconfig writes the administrator's kubeconfig for the API server at the given URL.
func (c *Cluster) WriteKubeconfig(path, server string) error {
	return writeKubeconfig(path, c.cfg.Name, server, c.ca, c.admin)
}

// Failed delivers the first error of a component that ended by itself.
func (c *Cluster) Failed() <-chan error { return c.failed }

// healthy waits until url answers 200.
func healthy(ctx context.Context, url string) error {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		// Only "is it up" is asked, and nothing secret is sent.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec
	}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ok(ctx, client, url) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", url, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func ok(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}
