package sidecar

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Record remembers, for each Helm release, what its values said before Meshlift set them, so that a setting that is taken back
// leaves what was there. It is kept as JSON in [v1alpha1.SidecarRecordAnnotation].
type Record map[string]map[string]Before

// Before is one value as it was; Was is nil when there was none.
type Before struct {
	Was any `json:"was,omitempty"`
}

// Release is the Helm release of one istiod.
type Release struct {
	Name   string
	Values map[string]any
}

// Plan is what to do: the record is written first, then each release gets its values. Releases that need no change are not
// in it. A crash in between loses nothing: the record never forgets what it says as long as the setting is there.
type Plan struct {
	Record  Record
	Changes []Release
}

// Decide compares the configuration with the releases of all istiods.
func Decide(config *v1alpha1.SidecarConfiguration, record Record, releases []Release) (Plan, error) {
	if config == nil {
		config = &v1alpha1.SidecarConfiguration{}
	}
	wanted := valuesOf(config.SidecarSettings)
	out := Plan{Record: Record{}}
	for _, r := range releases {
		known := inherited(record, r.Name, releases)
		next := runtime.DeepCopyJSON(canonical(r.Values))
		kept := map[string]Before{}
		for path, before := range known {
			if _, still := wanted[path]; still {
				kept[path] = before
			} else if err := restore(next, path, before); err != nil {
				return Plan{}, fmt.Errorf("values of Helm release %q: %w", r.Name, err)
			}
		}
		for path, value := range wanted {
			fields := strings.Split(path, ".")
			if _, recorded := kept[path]; !recorded {
				was, _, err := unstructured.NestedFieldCopy(next, fields...)
				if err != nil {
					return Plan{}, fmt.Errorf("values of Helm release %q: %w", r.Name, err)
				}
				kept[path] = Before{Was: was}
			}
			if err := unstructured.SetNestedField(next, value, fields...); err != nil {
				return Plan{}, fmt.Errorf("values of Helm release %q: %w", r.Name, err)
			}
		}
		if len(kept) > 0 {
			out.Record[r.Name] = kept
		}
		if !equal(next, canonical(r.Values)) {
			out.Changes = append(out.Changes, Release{Name: r.Name, Values: next})
		}
	}
	return out, nil
}

// inherited is the record of a release. One that has none was installed by an upgrade with the values of a release that is
// gone by now, and with them came what Meshlift had set there.
func inherited(record Record, name string, releases []Release) map[string]Before {
	if own, ok := record[name]; ok {
		return own
	}
	for _, old := range slices.Sorted(maps.Keys(record)) {
		if !slices.ContainsFunc(releases, func(r Release) bool { return r.Name == old }) {
			return record[old]
		}
	}
	return nil
}

// restore puts back what was at a path, and takes maps away that hold nothing any more.
func restore(values map[string]any, path string, before Before) error {
	fields := strings.Split(path, ".")
	if before.Was != nil {
		return unstructured.SetNestedField(values, runtime.DeepCopyJSONValue(before.Was), fields...)
	}
	unstructured.RemoveNestedField(values, fields...)
	for n := len(fields) - 1; n > 0; n-- {
		m, found, err := unstructured.NestedMap(values, fields[:n]...)
		if err != nil || !found || len(m) > 0 {
			break
		}
		unstructured.RemoveNestedField(values, fields[:n]...)
	}
	return nil
}

// valuesOf returns the Helm values that stand for the settings, by dotted path
// (https://github.com/istio/istio/blob/master/manifests/charts/istio-control/istio-discovery/values.yaml).
func valuesOf(s v1alpha1.SidecarSettings) map[string]any {
	out := map[string]any{}
	if s.Resources != nil {
		out["global.proxy.resources"] = resourcesOf(*s.Resources)
	}
	if s.Concurrency != nil {
		out["meshConfig.defaultConfig.concurrency"] = int64(*s.Concurrency)
	}
	if s.LogLevel != "" {
		out["global.proxy.logLevel"] = s.LogLevel
	}
	if s.HoldApplicationUntilProxyStarts != nil {
		out["meshConfig.defaultConfig.holdApplicationUntilProxyStarts"] = *s.HoldApplicationUntilProxyStarts
	}
	if s.TerminationDrainDuration != nil {
		out["meshConfig.defaultConfig.terminationDrainDuration"] = seconds(s)
	}
	if t := s.Traffic; t != nil {
		for path, list := range map[string][]string{
			"global.proxy.includeIPRanges":      t.IncludeOutboundIPRanges,
			"global.proxy.excludeIPRanges":      t.ExcludeOutboundIPRanges,
			"global.proxy.includeInboundPorts":  ports(t.IncludeInboundPorts),
			"global.proxy.excludeInboundPorts":  ports(t.ExcludeInboundPorts),
			"global.proxy.excludeOutboundPorts": ports(t.ExcludeOutboundPorts),
		} {
			if list != nil {
				out[path] = strings.Join(list, ",")
			}
		}
	}
	return out
}

func resourcesOf(r v1alpha1.SidecarResources) map[string]any {
	out := map[string]any{}
	for kind, list := range map[string]map[string]string{"requests": quantities(r.Requests), "limits": quantities(r.Limits)} {
		if len(list) == 0 {
			continue
		}
		m := map[string]any{}
		for name, q := range list {
			m[name] = q
		}
		out[kind] = m
	}
	return out
}

// seconds writes a duration as protobuf's JSON has it.
func seconds(s v1alpha1.SidecarSettings) string {
	return strconv.FormatFloat(s.TerminationDrainDuration.Seconds(), 'f', -1, 64) + "s"
}

func ports(list []int32) []string {
	if list == nil {
		return nil
	}
	out := make([]string, 0, len(list))
	for _, p := range list {
		out = append(out, strconv.Itoa(int(p)))
	}
	return out
}
