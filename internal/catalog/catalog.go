package catalog

import (
	_ "embed"
	"errors"
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
	return out.sorted()
}

func upsert[T any](list []T, item T, same func(T) bool) []T {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = item
		return list
	}
	return append(list, item)
}

// Validate tells everything that is wrong with the catalog: versions that cannot be read, entries that are there twice,
// paths that do not go up, that lead to an unknown release or that no Kubernetes version satisfies.
func (c Catalog) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf("catalog: "+format, args...)) }
	seen := map[string]bool{}
	for _, r := range c.Releases {
		if _, err := version.ParseMinor(r.Version); err != nil || version.IsFull(r.Version) {
			complain("release %q: want a minor version, for example 1.31", r.Version)
		}
		if seen[r.Version] {
			complain("release %s is there twice", r.Version)
		}
		seen[r.Version] = true
		if m, err := version.ParseMinor(r.Patch); r.Patch != "" && (err != nil || m.String() != r.Version) {
			complain("release %s: patch %q is not one of its patch versions", r.Version, r.Patch)
		}
		if len(r.Kubernetes) == 0 {
			complain("release %s names no Kubernetes version", r.Version)
		}
		errs = append(errs, validKubernetes("release "+r.Version, r.Kubernetes)...)
	}
	for _, p := range c.Paths {
		name := "path " + p.From + " to " + p.To
		if seen[name] {
			complain("%s is there twice", name)
		}
		seen[name] = true
		from, err1 := version.ParseMinor(p.From)
		to, err2 := version.ParseMinor(p.To)
		if err1 != nil || err2 != nil || from.Compare(to) >= 0 {
			complain("%s: want two minor versions, the older one first", name)
			continue
		}
		if _, ok := c.release(to); !ok {
			complain("%s: there is no release %s", name, p.To)
		}
		if len(c.kubernetes(p)) == 0 {
			complain("%s: no Kubernetes version runs both releases", name)
		}
		errs = append(errs, validKubernetes(name, p.Kubernetes)...)
	}
	return errors.Join(errs...)
}

func validKubernetes(where string, versions []string) []error {
	var errs []error
	for _, k := range versions {
		if _, err := version.ParseMinor(k); err != nil || version.IsFull(k) {
			errs = append(errs, fmt.Errorf("catalog: %s: Kubernetes %q: want a minor version, for example 1.35", where, k))
		}
	}
	return errs
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
	for _, r := range c.Releases {
		if r.Version == m.String() {
			return r, true
		}
	}
	return v1alpha1.Release{}, false
}

func (c Catalog) path(from, to version.Minor) (v1alpha1.Path, bool) {
	for _, p := range c.Paths {
		if p.From == from.String() && p.To == to.String() {
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
