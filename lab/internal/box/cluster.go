package box

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"meshlift.dev/meshlift/lab/internal/clusterdns"
	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/kubelet"
	"meshlift.dev/meshlift/lab/internal/podnet"
	"meshlift.dev/meshlift/lab/internal/serviceproxy"
	"meshlift.dev/meshlift/lab/internal/simproxy"
	"meshlift.dev/meshlift/lab/internal/workloads"
)

// cluster brings up one cluster of a lab.
type cluster struct {
	*supervisor
	index        int
	name         string
	relay        net.Listener // of the host, for the API server
	networkReady func()       // called when the cluster's addresses exist, may be nil
}

// start brings the cluster up. Its parts live until ctx ends; setup is cancelled as soon as another cluster fails.
func (c *cluster) start(ctx, setup context.Context) error {
	network, err := podnet.New(c.index)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.name, err)
	}
	if c.networkReady != nil {
		c.networkReady()
	}
	log := c.log.With("cluster", c.name)
	dir := filepath.Join(c.run, c.name)
	plane, err := controlplane.Start(setup, controlplane.Config{
		Name: c.name, Index: c.index, Dir: dir, Kube: c.dir.Bin("kube"), Nodes: c.options.Nodes, Images: c.images,
		Audit: c.options.Audit, Log: log,
	})
	if err != nil {
		return err
	}
	c.keep(ctx, "control plane of "+c.name, func(ctx context.Context) error {
		defer plane.Stop()
		select {
		case err := <-plane.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
	state := c.state.Clusters[c.index]
	if err := errors.Join(plane.WriteKubeconfig(state.Kubeconfig, state.Server), plane.WriteKubeconfig(state.Inside, plane.Addresses().Server())); err != nil {
		return err
	}
	c.step("%s: API server is up", c.name)
	c.victims.Store(c.name, &victim{plane: plane, network: network})
	c.keepParts(ctx, plane, network, log, dir)
	group, setup := errgroup.WithContext(setup)
	group.Go(func() error {
		if err := plane.WaitHealthy(setup); err != nil {
			return err
		}
		c.step("%s: control plane is healthy", c.name)
		return nil
	})
	group.Go(func() error { return c.install(setup, plane, log) }) // much of it needs the API server only
	return group.Wait()
}

// keepParts starts what makes a cluster of the control plane.
func (c *cluster) keepParts(ctx context.Context, plane *controlplane.Cluster, network *podnet.Network, log *slog.Logger, dir string) {
	addresses := plane.Addresses()
	cert, key, clientCA := plane.KubeletFiles()
	parts := map[string]func(context.Context) error{
		"kubelet": func(ctx context.Context) error {
			return kubelet.Run(ctx, kubelet.Config{
				Cluster: c.name, Index: c.index, REST: plane.REST(), NodeName: controlplane.ProcessNode,
				StateDir: filepath.Join(dir, "kubelet"), LogDir: filepath.Join(dir, "pods"),
				Images: c.images, Network: network, DNS: addresses.DNS(), ClusterDomain: controlplane.Domain,
				TLSCert: cert, TLSKey: key, ClientCA: clientCA, Executable: c.lab, Log: log.With("part", "kubelet"),
			})
		},
		"service proxy": func(ctx context.Context) error {
			return serviceproxy.Run(ctx, plane.REST(), log.With("part", "service proxy"))
		},
		"DNS": func(ctx context.Context) error {
			return clusterdns.Run(ctx, plane.REST(), netip.AddrPortFrom(addresses.DNS(), 53), log.With("part", "DNS"))
		},
		"simulated proxies": func(ctx context.Context) error {
			return simproxy.Run(ctx, plane.REST(), log.With("part", "simulated proxies"))
		},
		"relay to the API server": func(ctx context.Context) error {
			return relay(ctx, c.relay, addresses.APIServer().String())
		},
	}
	for name, part := range parts {
		c.keep(ctx, name+" of "+c.name, part)
	}
}

// install installs Istio and the workloads.
func (c *cluster) install(ctx context.Context, plane *controlplane.Cluster, log *slog.Logger) error {
	mesh, selection := c.options.mesh(c.name)
	if mesh.Version == "" && selection == (workloads.Selection{}) {
		return nil
	}
	return workloads.Install(ctx, workloads.Target{
		Name: c.name, REST: plane.REST(), Kubeconfig: c.state.Clusters[c.index].Inside, Log: log, Chart: c.charts.Load,
		Rollouts: filepath.Join(c.dir.ArgoRollouts(), "install.yaml"),
		Report:   func(what string) { c.step("%s: %s", c.name, what) },
	}, mesh, selection)
}

func (s *supervisor) step(format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	s.log.Info(message)
	s.reports.send(report{Step: message})
}
