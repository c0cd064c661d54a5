package catalog

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/version"
)

//go:embed catalog.yaml
var embedded []byte

// Catalog is a [v1alpha1.CatalogSpec] in effect: releases sorted by version, paths by from and to.
type Catalog v1alpha1.CatalogSpec

// Default is the catalog that is built into Meshlift. A broken one is a mistake of the build, so it panics; a test reads it.
func Default() Catalog {
	c, err := Parse(embedded)
	if err != nil {
		panic(fmt.Sprintf("read embedded catalog: %v", err))
	}
	return c
}

// Parse reads a catalog from YAML or JSON, strictly: an unknown field or anything that [Catalog.Validate] refuses is an
// error.
func Parse(data []byte) (Catalog, error) {
	var c Catalog
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return Catalog{}, fmt.Errorf("parse catalog: %w", err)
	}
	c = c.sorted()
	if err := c.Validate(); err != nil {
		return Catalog{}, err
	}
	return c, nil
}

// Merge returns the catalog with the entries of spec added; an entry of the same release or path replaces the old one
// whole. A nil spec changes nothing. The receiver is left as it is.
func (c Catalog) Merge(spec *v1alpha1.CatalogSpec) Catalog {
	if spec == nil {
		return c
	}
	out := Catalog{
		ChartRepository: c.ChartRepository,
		ImageHub:        c.ImageHub,
		Releases:        slices.Clone(c.Releases),
		Paths:           slices.Clone(c.Paths),
		Components:      slices.Clone(c.Components),
		Changes:         slices.Clone(c.Changes),
	}
	if spec.ChartRepository != "" {
		out.ChartRepository = spec.ChartRepository
	}
	if spec.ImageHub != "" {
		out.ImageHub = spec.ImageHub
	}
	for _, r := range spec.Releases {
		out.Releases = upsert(out.Releases, r, func(o v1alpha1.Release) bool { return o.Version == r.Version })
	}
	for _, p := range spec.Paths {
		out.Paths = upsert(out.Paths, p, func(o v1alpha1.Path) bool { return o.From == p.From && o.To == p.To })
	}
	for _, m := range spec.Components {
		out.Components = upsert(out.Components, m, func(o v1alpha1.Component) bool { return o.Name == m.Name })
	}
	for _, change := range spec.Changes {
		out.Changes = upsert(out.Changes, change, func(o v1alpha1.Change) bool { return o.ID == change.ID })
	}
	return out.sorted()
}

func upsert[T any](list []T, item T, same func(T) bool) []T {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = item
		return list
	}
	return append(list, item)
}

// Bounds of a catalog, many times what Istio has ever released; those of the API's schema.
const (
	maxReleases   = 500
	maxPaths      = 2000
	maxKubernetes = 100
	maxComponents = 50
)

// Validate tells in one sentence what is wrong with the catalog: too many entries, versions that cannot be read, entries
// that are there twice, paths that do not go up, that lead to an unknown release or that no Kubernetes version satisfies.
func (c Catalog) Validate() error {
	if len(c.Releases) > maxReleases || len(c.Paths) > maxPaths {
		return fmt.Errorf("catalog: it has %d releases and %d paths, at most %d and %d are allowed: keep those that you use", len(c.Releases), len(c.Paths), maxReleases, maxPaths)
	}
	var found complaints
	seen := map[string]bool{}
	for _, r := range c.Releases {
		if !minor(r.Version) {
			found.add("release %s: want a minor version, for example 1.31", quoted(r.Version))
		}
		if seen[r.Version] {
			found.add("release %s is there twice", quoted(r.Version))
		}
		seen[r.Version] = true
		if m, err := version.ParseMinor(r.Patch); r.Patch != "" && (err != nil || m.String() != r.Version || !version.IsFull(r.Patch)) {
			found.add("release %s: patch %q is not one of its patch versions", quoted(r.Version), r.Patch)
		}
		if len(r.Kubernetes) == 0 {
			found.add("release %s names no Kubernetes version", quoted(r.Version))
		}
		found.kubernetes("release "+quoted(r.Version), r.Kubernetes)
	}
	for _, p := range c.Paths {
		name := "path " + quoted(p.From) + " to " + quoted(p.To)
		if seen[name] {
			found.add("%s is there twice", name)
		}
		seen[name] = true
		if !minor(p.From) || !minor(p.To) || compare(p.From, p.To) >= 0 {
			found.add("%s: want two minor versions, the older one first", name)
			continue
		}
		if _, ok := c.named(p.To); !ok {
			found.add("%s: there is no release %s", name, p.To)
		}
		if len(c.kubernetes(p)) == 0 {
			found.add("%s: no Kubernetes version runs both releases", name)
		}
		found.kubernetes(name, p.Kubernetes)
	}
	found.components(c.Components)
	found.changes(c.Changes)
	return found.err()
}

// minor tells whether v is a minor version as the catalog writes it, "1.31": "1.031" would never be found.
func minor(v string) bool {
	m, err := version.ParseMinor(v)
	return err == nil && m.String() == v
}

// quoted shows a version as it is, and what is none in quotes.
func quoted(v string) string {
	if minor(v) {
		return v
	}
	return fmt.Sprintf("%q", v)
}

// complaints are what is wrong with a catalog.
type complaints []string

func (f *complaints) add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

func (f *complaints) kubernetes(where string, versions []string) {
	if len(versions) > maxKubernetes {
		f.add("%s names %d Kubernetes versions, at most %d are allowed", where, len(versions), maxKubernetes)
		return
	}
	for _, k := range versions {
		if !minor(k) {
			f.add("%s: Kubernetes %q: want a minor version, for example 1.35", where, k)
		}
	}
}

// shown is how many complaints the sentence names before it counts the rest.
const shown = 3

func (f complaints) err() error {
	switch {
	case len(f) == 0:
		return nil
	case len(f) > shown:
		return fmt.Errorf("catalog: %s; and %d more", strings.Join(f[:shown], "; "), len(f)-shown)
	}
	return fmt.Errorf("catalog: %s", strings.Join(f, "; "))
}

// sorted returns the catalog in its canonical order.
func (c Catalog) sorted() Catalog {
	slices.SortStableFunc(c.Releases, func(a, b v1alpha1.Release) int { return compare(a.Version, b.Version) })
	slices.SortStableFunc(c.Paths, func(a, b v1alpha1.Path) int {
		if d := compare(a.From, b.From); d != 0 {
			return d
		}
		return compare(a.To, b.To)
	})
	return c
}

// compare orders version strings as versions where they are some, else as text.
func compare(a, b string) int {
	ma, ea := version.ParseMinor(a)
	mb, eb := version.ParseMinor(b)
	if ea != nil || eb != nil {
		return strings.Compare(a, b)
	}
	return ma.Compare(mb)
}

func (c Catalog) release(m version.Minor) (v1alpha1.Release, bool) {
	name := m.String()
	for _, r := range c.Releases {
		if r.Version == name {
			return r, true
		}
	}
	return v1alpha1.Release{}, false
}

func (c Catalog) path(from, to version.Minor) (v1alpha1.Path, bool) {
	older, newer := from.String(), to.String()
	for _, p := range c.Paths {
		if p.From == older && p.To == newer {
			return p, true
		}
	}
	return v1alpha1.Path{}, false
}

// kubernetes lists the Kubernetes versions of a path, oldest first: its own list, else what both releases support. A
// release that the catalog does not know supports everything that the other one does.
func (c Catalog) kubernetes(p v1alpha1.Path) []string {
	out := slices.Clone(p.Kubernetes)
	if len(out) == 0 {
		from, knownFrom := c.named(p.From)
		to, knownTo := c.named(p.To)
		switch {
		case knownFrom && knownTo:
			for _, k := range to.Kubernetes {
				if slices.Contains(from.Kubernetes, k) {
					out = append(out, k)
				}
			}
		case knownTo:
			out = slices.Clone(to.Kubernetes)
		}
	}
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}

func (c Catalog) named(v string) (v1alpha1.Release, bool) {
	m, err := version.ParseMinor(v)
	if err != nil {
		return v1alpha1.Release{}, false
	}
	return c.release(m)
}
