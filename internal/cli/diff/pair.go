package diff

import (
	"slices"

	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/proposal"
	"meshlift.dev/meshlift/internal/version"
)

// wish is which istiods the user wants to compare.
type wish struct{ version, from, to string }

// pair finds the two istiods: by name or version, else those of the upgrade that runs, else the only two that there are.
func (w wish) pair(p *proposal.Proposal) (from, to mesh.Revision, err error) {
	inv := p.Inventory
	if p.Running && w == (wish{}) {
		w.from, w.to = p.From.Name, p.To.Revision
	}
	if w.to == "" && w.version != "" {
		if w.to, err = w.ofVersion(inv); err != nil {
			return from, to, err
		}
	}
	if w.from == "" || w.to == "" {
		rest := slices.DeleteFunc(slices.Clone(inv.Revisions), func(r mesh.Revision) bool { return r.Name == w.from || r.Name == w.to })
		slices.SortStableFunc(rest, func(a, b mesh.Revision) int { return compare(a.Version, b.Version) })
		switch {
		case w.from == "" && w.to == "" && len(rest) == 2:
			w.from, w.to = rest[0].Name, rest[1].Name
		case w.from == "" && w.to != "" && len(rest) == 1:
			w.from = rest[0].Name
		case w.to == "" && w.from != "" && len(rest) == 1:
			w.to = rest[0].Name
		case len(inv.Revisions) < 2:
			return from, to, exit.Refusedf("Two istiods are compared and %d runs: start the upgrade first; until data planes are moved it changes nothing that runs", len(inv.Revisions))
		default:
			return from, to, exit.Usagef("there are %d istiods: say which two with --from-revision and --revision", len(inv.Revisions))
		}
	}
	for _, r := range []struct {
		name string
		into *mesh.Revision
	}{{w.from, &from}, {w.to, &to}} {
		found, ok := inv.Revision(r.name)
		if !ok || found.ReadyReplicas == 0 {
			return from, to, exit.Refusedf("Istiod %s has no replica that is ready, and both are asked: bring it up first", r.name)
		}
		*r.into = found
	}
	if from.Name == to.Name {
		return from, to, exit.Usagef("--from-revision and --revision are the same")
	}
	return from, to, nil
}

// ofVersion is the only revision of the version, minor or full.
func (w wish) ofVersion(inv *mesh.Inventory) (string, error) {
	wanted, err := version.ParseMinor(w.version)
	if err != nil {
		return "", exit.Usagef("--to: %w", err)
	}
	var names []string
	for _, r := range inv.Revisions {
		got, err := version.ParseMinor(r.Version)
		if r.Name != w.from && (r.Version == w.version || err == nil && w.version == wanted.String() && got == wanted) {
			names = append(names, r.Name)
		}
	}
	switch len(names) {
	case 0:
		return "", exit.Refusedf("No istiod of version %s runs, and both are asked: start the upgrade first; until data planes are moved it changes nothing that runs", w.version)
	case 1:
		return names[0], nil
	}
	return "", exit.Usagef("version %s has %d istiods: say which with --revision", w.version, len(names))
}

func compare(a, b string) int {
	x, errX := version.ParseMinor(a)
	y, errY := version.ParseMinor(b)
	if errX != nil || errY != nil {
		return 0
	}
	return x.Compare(y)
}
