package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Components are the names that [Cluster.Restart] and [Cluster.Process] know.
func Components() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
}

// Restart kills a component by SIGKILL, starts it again as it was, and returns when it is healthy. Its state stays.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	p, err := c.component(name, true)
	if err != nil {
		return err
	}
	close(p.stopping)
	_ = p.cmd.Process.Kill()
	<-p.done
	if err := c.run(name, p.flags); err != nil {
		return err
	}
	a := c.addresses
	url := map[string]string{
		"etcd": "http://" + a.at(portEtcd) + "/health", "kube-apiserver": a.Server() + "/readyz",
		"kube-controller-manager": "https://" + a.at(portController) + "/healthz", "kube-scheduler": "https://" + a.at(portScheduler) + "/healthz",
	}[name]
	if url == "" { // kwok says nothing about its health
		return nil
	}
	return c.guard(ctx, func(ctx context.Context) error { return healthy(ctx, url) })
}

// Process is the ID of a component's process.
func (c *Cluster) Process(name string) (pid int, err error) {
	p, err := c.component(name, false)
	if err != nil {
		return 0, err
	}
	return p.cmd.Process.Pid, nil
}

// component finds a component that runs, and takes it out of the list when it is to be ended.
func (c *Cluster) component(name string, take bool) (*component, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := slices.IndexFunc(c.parts, func(p *component) bool { return p.name == name })
	switch {
	case !slices.Contains(Components(), name):
		return nil, fmt.Errorf("there is no component %q: want one of %s", name, strings.Join(Components(), ", "))
	case n < 0:
		return nil, fmt.Errorf("%s of %s does not run: it is being restarted, or the lab ends", name, c.cfg.Name)
	}
	p := c.parts[n]
	if take {
		c.parts = slices.Delete(c.parts, n, n+1)
	}
	return p, nil
}
