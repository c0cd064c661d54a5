package catalog

import (
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/version"
)

// Refusal says why something is not supported and what to do about it.
type Refusal struct {
	// Reason is one of the v1alpha1.Reason constants.
	Reason string
	// Message is one sentence for a person.
	Message string
}

func refuse(reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Check tells whether Istio can go from one version to the other on this Kubernetes; nil means yes. Any of the three may
// be a full version: only the minor versions count.
func (c Catalog) Check(from, to, kubernetes string) *Refusal {
	f, err := version.ParseMinor(from)
	if err != nil {
		return refuse(v1alpha1.ReasonUnknownVersion, "The version of the running Istio cannot be read: %v", err)
	}
	t, r := c.known(to)
	if r != nil {
		return r
	}
	switch d := f.Compare(t); {
	case d == 0:
		return refuse(v1alpha1.ReasonUnsupportedPath, "Istio %s runs already and patch versions need no upgrade of this kind: %s", f, c.offer(f, kubernetes))
	case d > 0:
		return refuse(v1alpha1.ReasonUnsupportedPath, "Istio %s is older than the running %s and going back is not an upgrade: %s", t, f, c.offer(f, kubernetes))
	}
	p, ok := c.path(f, t)
	if !ok {
		if route := c.route(f, t, kubernetes); len(route) > 0 {
			return refuse(v1alpha1.ReasonUnsupportedPath, "Istio %s cannot be upgraded to %s in one step: go by way of %s", f, t, join(route, "then"))
		}
		return refuse(v1alpha1.ReasonUnsupportedPath, "Istio %s cannot be upgraded to %s: %s", f, t, c.offer(f, kubernetes))
	}
	return c.checkKubernetes(p, f, t, kubernetes)
}

func (c Catalog) checkKubernetes(p v1alpha1.Path, f, t version.Minor, kubernetes string) *Refusal {
	allowed := c.kubernetes(p)
	needs := fmt.Sprintf("Istio %s to %s needs Kubernetes %s", f, t, join(allowed, "or"))
	k, err := version.ParseMinor(kubernetes)
	if err != nil {
		return refuse(v1alpha1.ReasonUnsupportedKubernetes, "%s and the version of this cluster cannot be read: %v", needs, err)
	}
	if slices.Contains(allowed, k.String()) {
		return nil
	}
	remedy := "upgrade Kubernetes first"
	if len(allowed) == 0 || compare(k.String(), allowed[len(allowed)-1]) > 0 {
		remedy = fmt.Sprintf("%s; or add Kubernetes %s to this path in the Catalog object %q once you have tested it",
			c.offer(f, kubernetes), k, v1alpha1.SingletonName)
	}
	return refuse(v1alpha1.ReasonUnsupportedKubernetes, "%s and this cluster runs %s: %s", needs, k, remedy)
}

// Targets lists the minor versions to which Istio can go in one step on this Kubernetes, oldest first.
func (c Catalog) Targets(from, kubernetes string) []string {
	f, err := version.ParseMinor(from)
	if err != nil {
		return nil
	}
	k, err := version.ParseMinor(kubernetes)
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range c.Paths {
		if p.From == f.String() && slices.Contains(c.kubernetes(p), k.String()) {
			out = append(out, p.To)
		}
	}
	slices.SortFunc(out, compare)
	return out
}

// Resolve turns a version that a person asked for into the full version to install: "1.31" into the patch of the release,
// "1.31.2" into itself when the release is known.
func (c Catalog) Resolve(v string) (full string, refusal *Refusal) {
	m, refusal := c.known(v)
	if refusal != nil {
		return "", refusal
	}
	if version.IsFull(v) {
		return strings.TrimPrefix(v, "v"), nil
	}
	r, _ := c.release(m)
	if r.Patch == "" {
		return "", refuse(v1alpha1.ReasonUnknownVersion, "The catalog names no patch version of Istio %s: ask for a full version, for example %s.0", m, m)
	}
	return r.Patch, nil
}

// Hub returns the registry of the images of the new version: that of the catalog, else the one that the old revision
// uses. Registries that Google hosted have no images from 1.31 on
// (https://istio.io/latest/news/releases/1.31.x/announcing-1.31/upgrade-notes/); Docker Hub has the same ones.
func (c Catalog) Hub(newVersion, oldHub string) string {
	if c.ImageHub != "" {
		return c.ImageHub
	}
	m, err := version.ParseMinor(newVersion)
	closed := slices.Contains([]string{"gcr.io/istio-release", "registry.istio.io/release"}, strings.TrimSuffix(oldHub, "/"))
	if oldHub == "" || err == nil && closed && m.Compare(version.Minor{Major: 1, Minor: 31}) >= 0 {
		return "docker.io/istio"
	}
	return oldHub
}

// known parses a version and checks that the catalog has its release.
func (c Catalog) known(v string) (version.Minor, *Refusal) {
	m, err := version.ParseMinor(v)
	if err != nil {
		return m, refuse(v1alpha1.ReasonUnknownVersion, "The Istio version cannot be read: %v", err)
	}
	if _, ok := c.release(m); !ok {
		var have []string
		for _, r := range c.Releases {
			have = append(have, r.Version)
		}
		return m, refuse(v1alpha1.ReasonUnknownVersion, "Istio %s is not in the catalog, which has %s: choose one of these, or add the release to the Catalog object %q",
			m, join(have, "and"), v1alpha1.SingletonName)
	}
	return m, nil
}

// offer says where one can go from here.
func (c Catalog) offer(from version.Minor, kubernetes string) string {
	k, err := version.ParseMinor(kubernetes)
	if err != nil {
		return "no other version can be offered, because the Kubernetes version cannot be read"
	}
	targets := c.Targets(from.String(), kubernetes)
	if len(targets) == 0 {
		return fmt.Sprintf("no upgrade from %s is supported on Kubernetes %s", from, k)
	}
	return fmt.Sprintf("from %s on Kubernetes %s you can go to %s", from, k, join(targets, "or"))
}

// route finds the shortest way in supported steps; it returns the stops in between. It is empty when there is none.
func (c Catalog) route(from, to version.Minor, kubernetes string) []string {
	type stop struct {
		at   string
		path []string
	}
	queue, seen := []stop{{at: from.String()}}, map[string]bool{from.String(): true}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		next := c.Targets(s.at, kubernetes)
		slices.Reverse(next)
		for _, n := range next {
			if n == to.String() {
				return s.path
			}
			if !seen[n] {
				seen[n] = true
				queue = append(queue, stop{at: n, path: append(slices.Clone(s.path), n)})
			}
		}
	}
	return nil
}

// join writes "1.27", "1.27 or 1.28", "1.27, 1.28 or 1.29".
func join(items []string, word string) string {
	switch len(items) {
	case 0:
		return "none"
	case 1:
		return items[0]
	}
	if word == "then" {
		return strings.Join(items, ", then ")
	}
	return strings.Join(items[:len(items)-1], ", ") + " " + word + " " + items[len(items)-1]
}
