package workloads

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/lab/internal/apply"
)

// SystemNamespace is where Istio is installed.
const SystemNamespace = "istio-system"

// installIstio installs the charts base and istiod at the same time: istiod waits for its CRDs. Istiod charts of the
// time when CRDs were not templates yet (before 1.24) can contain Istio's own objects, so they come second.
func installIstio(ctx context.Context, t Target, client *apply.Client, m Mesh) error {
	if err := client.Object(ctx, namespace(SystemNamespace, nil)); err != nil {
		return err
	}
	base := func() error {
		return install(ctx, t, "base", m.Version, "istio-base", SystemNamespace, map[string]any{"defaultRevision": orDefault(m.Revision)})
	}
	istiod := func() error {
		return install(ctx, t, "istiod", m.Version, istiodName(m.Revision), SystemNamespace, istiodValues(m))
	}
	chart, err := t.Chart("base", m.Version)
	if err != nil {
		return err
	}
	if len(chart.CRDObjects()) > 0 {
		if err := base(); err != nil {
			return err
		}
		return istiod()
	}
	var group errgroup.Group
	group.Go(base)
	group.Go(istiod)
	return group.Wait()
}

// istiodName is the name of istiod's release and Deployment.
func istiodName(revision string) string {
	if revision == "" {
		return "istiod"
	}
	return "istiod-" + revision
}

func orDefault(revision string) string {
	if revision == "" {
		return "default"
	}
	return revision
}

func istiodValues(m Mesh) map[string]any {
	v := map[string]any{
		"global":           map[string]any{"hub": m.Hub, "tag": m.Version},
		"autoscaleEnabled": false,
		"replicaCount":     1,
		"resources":        map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "128Mi"}},
	}
	if m.Revision != "" {
		v["revision"] = m.Revision
	}
	if len(m.Tags) > 0 {
		tags := make([]any, len(m.Tags))
		for i, tag := range m.Tags {
			tags[i] = tag
		}
		v["revisionTags"] = tags
	}
	return v
}

// installGateway installs the gateway chart in a namespace of its own.
func installGateway(ctx context.Context, t Target, client *apply.Client, m Mesh, ns, release string) error {
	labels := map[string]any{"istio-injection": "enabled"}
	v := map[string]any{
		"autoscaling": map[string]any{"enabled": false},
		"service":     map[string]any{"type": "ClusterIP"},
		"resources":   map[string]any{"requests": map[string]any{"cpu": "10m", "memory": "64Mi"}},
	}
	if m.Revision != "" {
		labels = map[string]any{"istio.io/rev": m.Revision}
		v["revision"] = m.Revision
	}
	if err := client.Object(ctx, namespace(ns, labels)); err != nil {
		return err
	}
	return install(ctx, t, "gateway", m.Version, release, ns, v)
}

func namespace(name string, labels map[string]any) *unstructured.Unstructured {
	metadata := map[string]any{"name": name}
	if len(labels) > 0 {
		metadata["labels"] = labels
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}}
}

// install runs `helm install` without waiting for the release to become ready.
func install(ctx context.Context, t Target, chart, version, release, ns string, v map[string]any) error {
	start := time.Now()
	c, err := t.Chart(chart, version)
	if err != nil {
		return err
	}
	settings := cli.New()
	settings.KubeConfig = t.Kubeconfig
	settings.QPS, settings.BurstLimit = 200, 400
	settings.SetNamespace(ns)
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(slog.DiscardHandler))
	if err := cfg.Init(settings.RESTClientGetter(), ns, "secret"); err != nil {
		return fmt.Errorf("release %s: %w", release, err)
	}
	in := action.NewInstall(cfg)
	in.ReleaseName, in.Namespace = release, ns
	in.WaitStrategy = kube.HookOnlyStrategy
	in.SkipSchemaValidation = true // some versions of the gateway chart have a schema that their own defaults violate
	in.DisableOpenAPIValidation = true
	if _, err := in.RunWithContext(ctx, c, v); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return fmt.Errorf("release %s: %w", release, err)
	}
	t.Log.Info("installed by Helm", "release", release, "chart", chart, "version", version, "took", time.Since(start).Round(time.Millisecond))
	return nil
}
