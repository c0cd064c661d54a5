package envoyapi

import "testing"

func TestTheTableKnowsWhatIsInWhichVersion(t *testing.T) {
	table := Default()
	for _, c := range []struct {
		version, message string
		there, known     bool
	}{
		{"1.39", "envoy.config.cluster.v3.Cluster", true, true},
		{"1.32", "envoy.extensions.filters.http.squash.v3.Squash", true, true},
		{"1.39", "envoy.extensions.filters.http.squash.v3.Squash", false, true},
		{"1.39", "example.com.Filter", false, false},
		{"1.10", "envoy.config.cluster.v3.Cluster", false, true},
	} {
		if there, known := table.Message(c.version, c.message); there != c.there || known != c.known {
			t.Errorf("%s in %s: %v %v", c.message, c.version, there, known)
		}
	}
	f, there, known := table.Field("1.39", "envoy.config.cluster.v3.Cluster", "typedExtensionProtocolOptions")
	if !there || !known || !f.Map || f.Message != "google.protobuf.Any" || f.Deprecated {
		t.Errorf("%+v %v %v", f, there, known)
	}
	if f, there, _ := table.Field("1.38", "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue", "read_only"); !there || f.Deprecated {
		t.Errorf("%+v", f)
	}
	if f, _, _ := table.Field("1.39", "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue", "read_only"); !f.Deprecated {
		t.Errorf("%+v", f)
	}
	if table.Has("1.33") || !table.Has("1.39") {
		t.Error("versions")
	}
}

func TestEnvoyIsEightMinorVersionsAheadOfIstio(t *testing.T) {
	for istio, envoy := range map[string]string{"1.31.0": "1.39", "1.24": "1.32", "next": "", "2.0": ""} {
		if got := OfIstio(istio); got != envoy {
			t.Errorf("%s: %q, want %q", istio, got, envoy)
		}
	}
}

func TestABrokenTableIsAnError(t *testing.T) {
	if _, err := parse([]byte("x")); err == nil {
		t.Error("no error")
	}
}
