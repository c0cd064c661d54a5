package values

import (
	"fmt"
	"slices"
	"strings"
)

// verdict is what becomes of a value that is not simply carried.
type verdict struct {
	// drop reports the value as not carried, else as changed.
	drop bool
	why  string
}

// special decides about the values that mean something else for a new revision. ok is false for all others.
func (c *carrier) special(l leaf) (v verdict, ok bool) {
	// Below "pilot" of a flat chart the identity of the release stands too.
	switch c.place(l.path)[0] {
	case "_internal_defaults_do_not_set", "defaults":
		return verdict{drop: true, why: "it holds the defaults of the old chart, which users must not set"}, true
	case "revisionTags":
		return verdict{why: fmt.Sprintf("dropped: the tags %s stay where they are until the old revision is decommissioned", text(l.value))}, true
	case "defaultRevision":
		return verdict{why: "dropped: the validator stays where it is until the old revision is decommissioned"}, true
	case "ownerName":
		return verdict{why: "dropped: it names the owner of the old installation"}, true
	}
	switch path := dotted(l.path); path {
	case "revision", "pilot.revision":
		return verdict{why: fmt.Sprintf("%s became %s", orNone(l.value), c.in.Target.Revision)}, true
	case "global.hub":
		return c.hub(l), true
	case "global.tag":
		c.variant = variantOf(text(l.value), c.in.Old)
		return verdict{why: fmt.Sprintf("%s became %s", orNone(l.value), c.in.Target.Tag+c.variant)}, true
	case "pilot.tag", "tag":
		return verdict{why: fmt.Sprintf("dropped: %s is a version of the old istiod; the new one comes from global.tag", text(l.value))}, true
	case "pilot.hub", "hub":
		if old, _ := get(c.in.Old, []string{"global", "hub"}); text(old) != c.in.Target.Hub && text(l.value) != c.in.Target.Hub {
			return verdict{why: fmt.Sprintf("dropped: %s is another registry than that of the new images, %s", text(l.value), c.in.Target.Hub)}, true
		}
	case "pilot.image", "image", "global.proxy.image", "global.proxy_init.image":
		if image := text(l.value); strings.Contains(image, "/") || strings.Contains(image, ":") {
			return verdict{drop: true, why: fmt.Sprintf("%s names an image of the old version; if you build your own, give the new one in spec.values", image)}, true
		}
	case "compatibilityVersion":
		return c.compatibility(l), true
	case "profile", "global.profile":
		return c.chartFile(l, "files/profile-%s.yaml", "profile")
	case "platform", "global.platform":
		return c.chartFile(l, "files/profile-platform-%s.yaml", "platform")
	}
	return verdict{}, false
}

func (c *carrier) hub(l leaf) verdict {
	if text(l.value) == c.in.Target.Hub {
		return verdict{why: "kept: " + c.in.Target.Hub}
	}
	if c.in.Target.Hub == "" {
		set(c.out, l.path, l.value)
		return verdict{why: "kept: " + text(l.value)}
	}
	return verdict{why: fmt.Sprintf("%s became %s", orNone(l.value), c.in.Target.Hub)}
}

// compatibility keeps the behaviour of an older version, as the user asked for, if the new chart still offers it
// (https://istio.io/latest/docs/setup/additional-setup/compatibility-versions/).
func (c *carrier) compatibility(l leaf) verdict {
	if text(l.value) == "" || l.value == nil {
		return verdict{why: "dropped: it was empty"}
	}
	if v, refused := c.chartFile(l, "files/profile-compatibility-version-%s.yaml", "compatibility version"); refused {
		return v
	}
	set(c.out, l.path, l.value)
	return verdict{why: fmt.Sprintf("kept: %s, the new istiod will behave like Istio %s in the ways that later versions changed; remove it to get the new behaviour", text(l.value), text(l.value))}
}

// chartFile refuses a value that names a file that the new chart does not have: rendering would fail.
func (c *carrier) chartFile(l leaf, pattern, what string) (verdict, bool) {
	if c.in.Files == nil || l.value == nil || text(l.value) == "" || slices.Contains(c.in.Files, fmt.Sprintf(pattern, text(l.value))) {
		return verdict{}, false
	}
	return verdict{drop: true, why: fmt.Sprintf("the new chart has no %s %s", what, text(l.value))}, true
}

// variantOf returns the suffix that a tag carries itself, where the chart does not add one.
func variantOf(tag string, old map[string]any) string {
	if v, ok := get(old, []string{"global", "variant"}); ok && text(v) != "" {
		return ""
	}
	for _, suffix := range []string{"-distroless", "-debug"} {
		if strings.HasSuffix(tag, suffix) {
			return suffix
		}
	}
	return ""
}

func orNone(v any) string {
	if s := text(v); s != "" && v != nil {
		return s
	}
	return "no value"
}
