package controlplane

import (
	"context"
	"errors"
	"fmt"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/internal/values"
)

// Plan says what to install.
type Plan struct {
	// Upgrade is the name of the ClusterUpgrade that owns the new revision.
	Upgrade string
	// From is the revision whose values are carried over.
	From mesh.Revision
	// To is the revision to install, with its full version.
	To v1alpha1.RevisionRef
	// ChartRepository serves the charts; ImageHub may be empty, then that of the old revision stays.
	ChartRepository, ImageHub string
	// Values of the user, merged over the carried ones.
	Values map[string]any
}

// Install puts the new istiod beside the old one: the CRDs and the base chart first, because the new istiod needs them and
// the old one does not mind, then istiod with the values of the old revision. Nothing that runs is touched.
//
// It may be called again and again; it writes only what differs. A *[Refused] is returned when the revision is there
// already and this upgrade did not install it.
func (s *Service) Install(ctx context.Context, p Plan) (v1alpha1.ValuesReport, error) {
	fail := func(err error) (v1alpha1.ValuesReport, error) {
		return v1alpha1.ValuesReport{}, fmt.Errorf("install istiod %s: %w", p.To.Revision, err)
	}
	name := object("istiod", p.To.Revision)
	present, err := s.own(ctx, p.To.Revision, p.Upgrade)
	if err != nil {
		return fail(err)
	}
	old, err := s.oldValues(ctx, p.From)
	if err != nil {
		return fail(err)
	}
	if err := s.base(ctx, p); err != nil {
		return fail(err)
	}
	source := release.Source{Repository: p.ChartRepository, Name: "istiod", Version: p.To.Version}
	chart, err := s.o.Releases.Describe(ctx, source)
	if err != nil {
		return fail(err)
	}
	hub := p.ImageHub
	if hub == "" {
		hub = p.From.Hub
	}
	next, report := values.Carry(values.Input{
		Old: old.values, OldChartVersion: old.chartVersion, NewDefaults: chart.Defaults, Files: chart.Files, Mentions: chart.Mentions,
		Target: values.Target{Revision: p.To.Revision, Hub: hub, Tag: p.To.Version}, Overrides: p.Values,
	})
	report.NotCarried = append(report.NotCarried, old.lost...)
	if present != nil {
		// Tags that were moved to this release belong to it; leaving them out would delete them.
		if tags, ok := present.Values["revisionTags"]; ok {
			next["revisionTags"] = tags
		}
	}
	injector, err := s.injector(ctx, p.To.Revision)
	if err != nil {
		return fail(err)
	}
	d, err := s.deployment(ctx, p.To.Revision)
	if err != nil {
		return fail(err)
	}
	err = s.o.Releases.Apply(ctx, release.Spec{
		Name: name, Namespace: s.o.Namespace, Source: source, Values: next,
		Labels: map[string]string{UpgradeLabel: LabelValue(p.Upgrade)},
		Force:  d == nil || injector == nil,
	})
	if err != nil {
		return fail(err)
	}
	return report, nil
}

// own returns the release of the new revision if this upgrade made it, nil when the revision is free, and refuses when
// somebody else's is there.
func (s *Service) own(ctx context.Context, revision, upgrade string) (*release.Release, error) {
	name := object("istiod", revision)
	r, err := s.o.Releases.Release(ctx, s.o.Namespace, name)
	if err != nil && !errors.Is(err, release.ErrNotFound) {
		return nil, err
	}
	if r != nil {
		if owner := r.Labels[UpgradeLabel]; owner != LabelValue(upgrade) {
			by := "was not installed by Meshlift"
			if owner != "" {
				by = "was installed by the ClusterUpgrade " + owner
			}
			return nil, &Refused{v1alpha1.ReasonRevisionConflict, fmt.Sprintf(
				"Revision %s exists already: the Helm release %s/%s %s; choose another name in spec.revision, or remove that release",
				revision, r.Namespace, r.Name, by)}
		}
		return r, nil
	}
	d, err := s.deployment(ctx, revision)
	if err != nil || d == nil {
		return nil, err
	}
	return nil, &Refused{v1alpha1.ReasonRevisionConflict, fmt.Sprintf(
		"Revision %s exists already: the Deployment %s/%s was not installed by this upgrade; choose another name in spec.revision, or remove that istiod",
		revision, d.Namespace, d.Name)}
}

// LabelValue turns the name of a ClusterUpgrade into the value of [UpgradeLabel]; long names are cut.
func LabelValue(name string) string {
	const limit = 63
	if len(name) > limit {
		name = name[:limit]
		for len(name) > 0 && !alphanumeric(name[len(name)-1]) {
			name = name[:len(name)-1]
		}
	}
	return name
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
}
