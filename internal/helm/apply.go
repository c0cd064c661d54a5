package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	v1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"

	"meshlift.dev/meshlift/internal/release"
)

// maxHistory is how many revisions of a release Helm keeps. Each is a Secret of some hundred kilobytes.
const maxHistory = 5

// hookTimeout is how long a hook of a chart may run, as in Helm's command line.
const hookTimeout = 5 * time.Minute

// Release returns what is recorded last about a release, [release.ErrNotFound] when there is nothing.
func (c *Client) Release(ctx context.Context, namespace, name string) (*release.Release, error) {
	cfg, err := c.configuration(namespace)
	if err != nil {
		return nil, err
	}
	r, err := last(cfg, name)
	if err != nil {
		return nil, err
	}
	return convert(r), nil
}

// last returns the newest revision of a release.
func last(cfg *action.Configuration, name string) (*v1.Release, error) {
	found, err := cfg.Releases.Last(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, fmt.Errorf("read release %q: %w", name, release.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read release %q: %w", name, err)
	}
	r, ok := found.(*v1.Release)
	if !ok {
		return nil, fmt.Errorf("read release %q: it was written by a newer Helm (%T)", name, found)
	}
	return r, nil
}

func convert(r *v1.Release) *release.Release {
	out := &release.Release{Name: r.Name, Namespace: r.Namespace, Revision: r.Version, Values: deepCopy(r.Config), Labels: map[string]string{}}
	for k, v := range r.Labels {
		if !slices.Contains(driver.GetSystemLabels(), k) { // some ways of reading leave them in
			out.Labels[k] = v
		}
	}
	if r.Chart != nil && r.Chart.Metadata != nil {
		out.Chart, out.ChartVersion, out.AppVersion = r.Chart.Name(), r.Chart.Metadata.Version, r.Chart.Metadata.AppVersion
	}
	if r.Info != nil {
		out.Status, out.Description, out.Updated = r.Info.Status.String(), r.Info.Description, r.Info.LastDeployed
	}
	return out
}

// Apply makes a release as it should be: it installs or upgrades it, or does nothing when it is recorded as such. It may
// be called again after any failure or crash. When it returns, the objects exist; they need not be ready.
//
// [release.ErrBusy] is returned when the release is pending, does not carry the labels of the spec and was touched within
// Options.Patience.
func (c *Client) Apply(ctx context.Context, s release.Spec) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	chart, err := c.load(ctx, s.Source)
	if err != nil {
		return err
	}
	cfg, err := c.writer(s)
	if err != nil {
		return err
	}
	present, err := last(cfg, s.Name)
	if errors.Is(err, release.ErrNotFound) {
		return install(cfg, chart, s)
	}
	if err != nil {
		return err
	}
	return c.change(cfg, present, chart, s)
}

// Amend gives other values to a release and keeps its chart, which is part of its record. Source of the spec is not
// looked at. [release.ErrNotFound] is returned when there is none.
func (c *Client) Amend(ctx context.Context, s release.Spec) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, err := c.writer(s)
	if err != nil {
		return err
	}
	present, err := last(cfg, s.Name)
	if err != nil {
		return err
	}
	return c.change(cfg, present, present.Chart, s)
}

// writer is a configuration that keeps what the spec wants kept.
func (c *Client) writer(s release.Spec) (*action.Configuration, error) {
	cfg, err := c.configuration(s.Namespace)
	if err != nil {
		return nil, err
	}
	if client, ok := cfg.KubeClient.(*kube.Client); ok && len(s.KeepWebhooks) > 0 {
		cfg.KubeClient = &keeper{Client: client, names: s.KeepWebhooks, rest: c.options.REST}
	}
	return cfg, nil
}

// change brings a release that exists to what the spec says.
func (c *Client) change(cfg *action.Configuration, present *v1.Release, chart *chartv2.Chart, s release.Spec) error {
	if present.Info == nil || present.Chart == nil || present.Chart.Metadata == nil {
		return fmt.Errorf("read release %q: its record is incomplete", s.Name)
	}
	if !s.Force && same(present, chart, s) {
		return nil
	}
	if err := c.unlock(cfg, present, s); err != nil {
		return err
	}
	if status := present.Info.Status; status == common.StatusUninstalling || status == common.StatusUninstalled {
		if err := uninstall(cfg, s.Name); err != nil {
			return err
		}
		return install(cfg, chart, s)
	}
	return upgrade(cfg, present, chart, s)
}

// same tells whether the release is deployed and nothing about it would change.
func same(r *v1.Release, chart *chartv2.Chart, s release.Spec) bool {
	if r.Info.Status != common.StatusDeployed || r.Chart.Metadata.Version != chart.Metadata.Version || r.Chart.Name() != chart.Name() {
		return false
	}
	for k, v := range s.Labels {
		if r.Labels[k] != v {
			return false
		}
	}
	return reflect.DeepEqual(canonical(r.Config), canonical(s.Values))
}

// canonical writes values as they come back from storage: numbers are floats there.
func canonical(values map[string]any) any {
	if len(values) == 0 {
		return map[string]any{}
	}
	data, err := json.Marshal(values)
	if err != nil {
		return err
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		return err
	}
	return out
}

// unlock marks a release that a dead process left pending as failed, so that it can be upgraded.
func (c *Client) unlock(cfg *action.Configuration, r *v1.Release, s release.Spec) error {
	if !r.Info.Status.IsPending() {
		return nil
	}
	ours := len(s.Labels) > 0
	for k, v := range s.Labels {
		ours = ours && r.Labels[k] == v
	}
	if age := c.options.Now().Sub(r.Info.LastDeployed); !ours && age < c.options.Patience {
		return fmt.Errorf("change release %q: it is %s since %s ago: %w", r.Name, r.Info.Status, age.Round(1e9), release.ErrBusy)
	}
	return takeOver(cfg, r)
}

// takeOver marks a pending revision as failed, which is what it is.
func takeOver(cfg *action.Configuration, r *v1.Release) error {
	r.SetStatus(common.StatusFailed, fmt.Sprintf("%s %s and takes over", release.TakenOver, r.Info.Status))
	if err := cfg.Releases.Update(r); err != nil {
		return fmt.Errorf("unlock release %q: %w", r.Name, err)
	}
	return nil
}

func install(cfg *action.Configuration, chart *chartv2.Chart, s release.Spec) error {
	in := action.NewInstall(cfg)
	in.ReleaseName, in.Namespace, in.Labels = s.Name, s.Namespace, s.Labels
	in.WaitStrategy = kube.HookOnlyStrategy
	in.ServerSideApply = false
	in.SkipSchemaValidation = true
	in.DisableOpenAPIValidation = true // it loads the schema of everything; the API server checks anyway
	in.SkipCRDs = true
	in.Description = "Installed by Meshlift"
	if _, err := in.Run(chart, deepCopy(s.Values)); err != nil {
		return fmt.Errorf("install release %q: %w", s.Name, err)
	}
	return nil
}

func upgrade(cfg *action.Configuration, present *v1.Release, chart *chartv2.Chart, s release.Spec) error {
	up := action.NewUpgrade(cfg)
	up.Namespace, up.Labels = s.Namespace, s.Labels
	up.WaitStrategy = kube.HookOnlyStrategy
	up.ServerSideApply = "auto"
	// The release is what owns the objects, not the name of the program that applied them last: helm, a GitOps controller
	// and this one use different field managers for the same release.
	up.ForceConflicts = present.ApplyMethod == string(v1.ApplyMethodServerSideApply)
	up.ResetValues = true
	up.SkipSchemaValidation = true
	up.DisableOpenAPIValidation = true
	up.SkipCRDs = true
	up.MaxHistory = maxHistory
	up.Timeout = hookTimeout
	up.Description = "Upgraded by Meshlift"
	if _, err := up.Run(s.Name, chart, deepCopy(s.Values)); err != nil {
		return fmt.Errorf("upgrade release %q: %w", s.Name, err)
	}
	return nil
}

// Uninstall removes a release and its history. Objects that carry the name of another release stay. It is no error when
// there is none, and it finishes what an earlier call began.
func (c *Client) Uninstall(ctx context.Context, namespace, name string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	cfg, err := c.configuration(namespace)
	if err != nil {
		return err
	}
	if _, err := last(cfg, name); errors.Is(err, release.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return uninstall(cfg, name)
}

func uninstall(cfg *action.Configuration, name string) error {
	un := action.NewUninstall(cfg)
	un.WaitStrategy = kube.HookOnlyStrategy
	un.IgnoreNotFound = true
	if _, err := un.Run(name); err != nil {
		return fmt.Errorf("uninstall release %q: %w", name, err)
	}
	return nil
}
