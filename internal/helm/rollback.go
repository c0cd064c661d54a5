package helm

import (
	"context"
	"errors"
	"fmt"

	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	v1 "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/release"
)

// rolledBack is the description of revisions that a rollback made.
const rolledBack = "Rolled back by Meshlift"

// ErrNothingBefore is returned when no earlier revision of a release was ever deployed.
var ErrNothingBefore = errors.New("no earlier revision was ever deployed")

// RollBack brings a release back to the newest earlier revision with another chart version that was once deployed. It may be called
// again after any failure or crash, and does nothing when the rollback is done.
func (c *Client) RollBack(ctx context.Context, s release.Spec) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, err := c.configuration(s.Namespace)
	if err != nil {
		return err
	}
	present, err := last(cfg, s.Name)
	if err != nil {
		return err
	}
	if present.Info == nil || present.Chart == nil || present.Chart.Metadata == nil {
		return fmt.Errorf("read release %q: its record is incomplete", s.Name)
	}
	if present.Info.RollbackRevision != 0 && present.Info.Status == common.StatusDeployed {
		return nil
	}
	target, err := earlier(cfg, present)
	if err != nil {
		return err
	}
	if present.Info.Status.IsPending() && present.Info.Description == rolledBack {
		err = takeOver(cfg, present) // our own, of a process that is dead
	} else {
		err = c.unlock(cfg, present, release.Spec{Name: s.Name, Labels: present.Labels})
	}
	if err != nil {
		return err
	}
	back := action.NewRollback(cfg)
	back.Version, back.Description = target.Version, rolledBack
	back.WaitStrategy = kube.HookOnlyStrategy
	back.ForceConflicts = target.ApplyMethod == string(v1.ApplyMethodServerSideApply)
	back.MaxHistory = maxHistory
	back.Timeout = hookTimeout
	if err := back.Run(s.Name); err != nil {
		return fmt.Errorf("roll release %q back: %w", s.Name, err)
	}
	return nil
}

// earlier is the revision to go back to. A rollback that did not end goes on to the same one.
func earlier(cfg *action.Configuration, present *v1.Release) (*v1.Release, error) {
	history, err := cfg.Releases.History(present.Name)
	if err != nil {
		return nil, fmt.Errorf("read the history of release %q: %w", present.Name, err)
	}
	var out *v1.Release
	for _, h := range history {
		r, ok := h.(*v1.Release)
		if !ok || r.Info == nil || r.Chart == nil || r.Chart.Metadata == nil || r.Version >= present.Version {
			continue
		}
		if present.Info.RollbackRevision != 0 && r.Version == present.Info.RollbackRevision {
			return r, nil
		}
		good := r.Info.Status == common.StatusDeployed || r.Info.Status == common.StatusSuperseded
		if good && r.Chart.Metadata.Version != present.Chart.Metadata.Version && (out == nil || out.Version < r.Version) {
			out = r
		}
	}
	if out == nil {
		return nil, fmt.Errorf("roll release %q back: %w", present.Name, ErrNothingBefore)
	}
	return out, nil
}

// CRDs returns what is in the crds/ folder of a chart. Helm installs it once and never upgrades it
// (https://helm.sh/docs/chart_best_practices/custom_resource_definitions/).
func (c *Client) CRDs(ctx context.Context, s release.Source) ([]*unstructured.Unstructured, error) {
	chart, err := c.load(ctx, s)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, f := range chart.CRDObjects() {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(f.File.Data, &o.Object); err != nil {
			return nil, fmt.Errorf("read %s of chart %s: %w", f.Filename, s.Name, err)
		}
		if o.GetKind() != "" {
			out = append(out, o)
		}
	}
	return out, nil
}
