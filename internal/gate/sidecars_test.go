package gate

import (
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestSidecarsAreConfiguredOnlyWhileNoOldIstiodExists(t *testing.T) {
	controlPlane := func(level, glass string) *v1alpha1.ControlPlane {
		cp := &v1alpha1.ControlPlane{}
		if level != "" {
			cp.Spec.Sidecars = &v1alpha1.SidecarConfiguration{SidecarSettings: v1alpha1.SidecarSettings{LogLevel: level}}
		}
		if glass != "" {
			cp.Annotations = map[string]string{v1alpha1.BreakGlassAnnotation: glass}
		}
		return cp
	}
	running := []v1alpha1.ClusterUpgrade{*upgrade("a", isAccepted)}
	for name, c := range map[string]struct {
		before, after *v1alpha1.ControlPlane
		upgrades      []v1alpha1.ClusterUpgrade
		want          Outcome
	}{
		"no upgrade":                        {controlPlane("", ""), controlPlane("debug", ""), nil, Passed},
		"an upgrade is not finished":        {controlPlane("", ""), controlPlane("debug", ""), running, Blocked},
		"taken out during one":              {controlPlane("debug", ""), controlPlane("", ""), running, Blocked},
		"something else changes":            {controlPlane("debug", ""), controlPlane("debug", "why"), running, Passed},
		"the glass is broken":               {controlPlane("", ""), controlPlane("debug", "incident 12"), running, Passed},
		"the glass was broken before":       {controlPlane("", "incident 12"), controlPlane("debug", "incident 12"), running, Blocked},
		"nonsense, whatever the glass says": {controlPlane("", ""), nonsense(controlPlane("", "incident 12")), nil, Blocked},
	} {
		t.Run(name, func(t *testing.T) {
			if v := ConfigureSidecars(c.before, c.after, c.upgrades); v.Outcome != c.want || (v.Message == "") == (c.want != Passed) {
				t.Errorf("%+v, want %s", v, c.want)
			}
		})
	}
	if v := ApplySidecars(controlPlane("debug", ""), running); v.Outcome != Waiting {
		t.Errorf("in the middle of an upgrade: %+v, want to wait", v)
	}
	if v := ApplySidecars(controlPlane("debug", "incident 12"), running); !v.Passed() {
		t.Errorf("in the middle of an upgrade, with broken glass: %+v, want a pass", v)
	}
}

func nonsense(cp *v1alpha1.ControlPlane) *v1alpha1.ControlPlane {
	cp.Spec.Sidecars = &v1alpha1.SidecarConfiguration{SidecarSettings: v1alpha1.SidecarSettings{Traffic: &v1alpha1.SidecarTraffic{ExcludeInboundPorts: []int32{70000}}}}
	return cp
}
