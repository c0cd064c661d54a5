package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/controller/clusterupgrade"
	"meshlift.dev/meshlift/internal/controlplane"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/upgrade"
	"meshlift.dev/meshlift/internal/xds"
)

// helmPatience is how long a pending Helm release is taken for somebody else's work. Only the leader writes, and the
// charts of Istio have no hooks that wait, so one that is pending longer was left by a crash.
const helmPatience = 15 * time.Second

// helmReleases makes the one client of Helm: its writes come one after the other.
func helmReleases(c Config) (*helm.Client, error) {
	return helm.New(helm.Options{REST: c.REST, Patience: helmPatience, Log: slog.New(logr.ToSlogHandler(c.Log))})
}

// controlPlanes makes the part that installs, verifies and retires istiods.
func controlPlanes(mgr ctrl.Manager, asker connector, c Config, releases *helm.Client) (clusterupgrade.Lifecycle, error) {
	service, err := controlplane.New(controlplane.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Releases: releases, Prober: asker.Client, Namespace: c.IstioNamespace,
		ProbeNamespaces: []string{c.IstioNamespace, c.Namespace, "default"},
	})
	if err != nil {
		return nil, err
	}
	return lifecycle{service}, nil
}

// lifecycle speaks the words of the controller to the service.
type lifecycle struct{ *controlplane.Service }

func plan(in clusterupgrade.Installation) controlplane.Plan {
	return controlplane.Plan{
		Upgrade: in.Upgrade, From: in.From, To: in.To, ChartRepository: in.ChartRepository, ImageHub: in.ImageHub, Values: in.Values,
	}
}

// Install implements clusterupgrade.Lifecycle.
func (l lifecycle) Install(ctx context.Context, in clusterupgrade.Installation) (v1alpha1.ValuesReport, error) {
	return l.Service.Install(ctx, plan(in))
}

// RemoveFailed implements clusterupgrade.Lifecycle.
func (l lifecycle) RemoveFailed(ctx context.Context, in clusterupgrade.Installation) (why string, err error) {
	return l.Service.RemoveFailed(ctx, plan(in))
}

// connector turns what istiod says into the second source of truth.
type connector struct{ *xds.Client }

// Connections implements clusterupgrade.Connector.
func (c connector) Connections(ctx context.Context, revision mesh.Revision) ([]upgrade.Connection, error) {
	report, err := c.Client.Connections(ctx, revision)
	if err != nil {
		return nil, fmt.Errorf("ask revision %s for its connections: %w", revision.Name, err)
	}
	out := make([]upgrade.Connection, 0, len(report.Proxies))
	for _, p := range report.Proxies {
		out = append(out, upgrade.Connection{Namespace: p.Namespace, Pod: p.Pod, Replica: p.Replica, Cluster: p.Cluster})
	}
	return out, nil
}

// Proxies implements dataplanerollout.Asker.
func (c connector) Proxies(ctx context.Context, revision mesh.Revision) ([]health.Proxy, error) {
	report, err := c.Client.Connections(ctx, revision)
	out := make([]health.Proxy, 0, len(report.Proxies))
	for _, p := range report.Proxies {
		out = append(out, health.Proxy{Namespace: p.Namespace, Pod: p.Pod, Synced: p.Synced, Rejected: p.Rejected})
	}
	return out, err
}
