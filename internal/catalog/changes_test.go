package catalog

import (
	"strings"
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestAnUpgradeMeetsTheChangesOfEveryReleaseOnItsWay(t *testing.T) {
	c := Catalog{Changes: []v1alpha1.Change{{ID: "c", Version: "1.31"}, {ID: "a", Version: "1.29"}, {ID: "b", Version: "1.30"}}}
	for _, w := range []struct{ from, to, want string }{
		{"1.29.3", "1.31", "b,c"}, {"1.28", "1.30.0", "a,b"}, {"1.31", "1.32", ""}, {"", "1.31", ""}, {"1.30", "next", ""},
	} {
		var ids []string
		for _, change := range c.Between(w.from, w.to) {
			ids = append(ids, change.ID)
		}
		if got := strings.Join(ids, ","); got != w.want {
			t.Errorf("%s to %s: %q, want %q", w.from, w.to, got, w.want)
		}
	}
}

func TestAChangeOfTheClusterReplacesTheBuiltInOne(t *testing.T) {
	c := Default()
	n := len(c.Changes)
	mine := v1alpha1.Change{ID: c.Changes[0].ID, Version: "1.31", Severity: "info", Summary: "Mine.", Touches: []v1alpha1.ObjectSelector{{Kind: "Service"}}}
	merged := c.Merge(&v1alpha1.CatalogSpec{Changes: []v1alpha1.Change{mine, {ID: "new"}}})
	if len(merged.Changes) != n+1 || merged.Changes[0].Summary != "Mine." || c.Changes[0].Summary == "Mine." {
		t.Errorf("%d changes, the first is %+v", len(merged.Changes), merged.Changes[0])
	}
}

func TestAChangeThatCannotBeUsedIsRefused(t *testing.T) {
	good := v1alpha1.Change{ID: "a", Version: "1.31", Severity: "info", Summary: "x", Touches: []v1alpha1.ObjectSelector{{Kind: "Service"}}}
	for says, spoil := range map[string]func(*v1alpha1.Change){
		"has no name": func(c *v1alpha1.Change) { c.ID = "" }, "minor version": func(c *v1alpha1.Change) { c.Version = "1.31.0" }, "severity": func(c *v1alpha1.Change) { c.Severity = "bad" },
		"touches nothing": func(c *v1alpha1.Change) { c.Touches = nil }, "cannot be read": func(c *v1alpha1.Change) { c.Touches = []v1alpha1.ObjectSelector{{Kind: "A", Matches: "("}} },
	} {
		bad := good
		spoil(&bad)
		c := Default()
		c.Changes = []v1alpha1.Change{bad}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestTheKubernetesVersionsOfAReleaseAreListed(t *testing.T) {
	if got := Default().Supports("1.30.4"); strings.Join(got, ",") != "1.32,1.33,1.34,1.35,1.36" || Default().Supports("9.9") != nil {
		t.Error(got)
	}
}
