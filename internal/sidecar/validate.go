package sidecar

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// maxDrain is far longer than any pod lives after it was told to end.
const maxDrain = 24 * 3600 // seconds

// Validate tells in one sentence what is wrong with a configuration; nil is right.
func Validate(c *v1alpha1.SidecarConfiguration) error {
	if c == nil {
		return nil
	}
	if err := validate(c.SidecarSettings, "sidecars", []string{"cpu", "memory", "ephemeral-storage"}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, n := range c.Namespaces {
		where := fmt.Sprintf("sidecars of namespace %q", n.Namespace)
		if seen[n.Namespace] {
			return fmt.Errorf("%s: the namespace is there twice: keep one", where)
		}
		seen[n.Namespace] = true
		if err := validate(n.SidecarSettings, where, []string{"cpu", "memory"}); err != nil {
			return err
		}
	}
	return nil
}

func validate(s v1alpha1.SidecarSettings, where string, resources []string) error {
	if d := s.TerminationDrainDuration; d != nil && (d.Duration < 0 || d.Seconds() > maxDrain) {
		return fmt.Errorf("%s: terminationDrainDuration is %s: give one from 0s to 24h", where, d.Duration)
	}
	if s.Resources != nil {
		if err := validateResources(*s.Resources, where, resources); err != nil {
			return err
		}
	}
	if s.Traffic == nil {
		return nil
	}
	for name, list := range map[string][]string{"includeOutboundIPRanges": s.Traffic.IncludeOutboundIPRanges, "excludeOutboundIPRanges": s.Traffic.ExcludeOutboundIPRanges} {
		for _, r := range list {
			if _, err := netip.ParsePrefix(r); err != nil && (r != "*" || name != "includeOutboundIPRanges" || len(list) > 1) {
				return fmt.Errorf("%s: %s holds %q: write ranges like 10.0.0.0/8 (or \"*\" alone to include all)", where, name, r)
			}
		}
	}
	for name, list := range map[string][]int32{
		"includeInboundPorts": s.Traffic.IncludeInboundPorts, "excludeInboundPorts": s.Traffic.ExcludeInboundPorts, "excludeOutboundPorts": s.Traffic.ExcludeOutboundPorts,
	} {
		for _, p := range list {
			if p < 1 || p > 65535 {
				return fmt.Errorf("%s: %s holds %d: ports are 1 to 65535", where, name, p)
			}
		}
	}
	return nil
}

func validateResources(r v1alpha1.SidecarResources, where string, allowed []string) error {
	for kind, list := range map[string]map[string]resource.Quantity{"request": r.Requests, "limit": r.Limits} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			q := list[name]
			if !slices.Contains(allowed, name) {
				return fmt.Errorf("%s: a %s of %q cannot be set: choose %s", where, kind, name, strings.Join(allowed, ", "))
			}
			if q.Sign() <= 0 {
				return fmt.Errorf("%s: the %s of %s is %s: give more than nothing", where, kind, name, q.String())
			}
			if limit, ok := r.Limits[name]; ok && kind == "request" && q.Cmp(limit) > 0 {
				return fmt.Errorf("%s: the request of %s, %s, is more than its limit, %s", where, name, q.String(), limit.String())
			}
		}
	}
	return nil
}
