package envoyapi

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestTheEmbeddedDescriptorsHaveWhatIstiodsSend(t *testing.T) {
	for _, name := range []protoreflect.FullName{
		"envoy.config.cluster.v3.Cluster", "envoy.config.listener.v3.Listener", "envoy.config.route.v3.RouteConfiguration", "envoy.config.core.v3.TypedExtensionConfig",
		"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
		"istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig", "stats.PluginConfig", "envoy.tcp.metadataexchange.config.MetadataExchange", "udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct",
		"envoy.extensions.filters.http.squash.v3.Squash", // only before Envoy 1.35
	} {
		if _, err := Types().FindMessageByName(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	m, err := Types().FindMessageByName("envoy.extensions.transport_sockets.tls.v3.TlsCertificate")
	if err != nil {
		t.Fatal(err)
	}
	fields := m.Descriptor().Fields()
	if !Sensitive(fields.ByName("private_key")) || Sensitive(fields.ByName("certificate_chain")) {
		t.Error("the private key is a secret, and the certificate is none")
	}
}

func TestEveryFieldOfTheDescriptorsHasItsType(t *testing.T) {
	files, err := readSet(set)
	if err != nil {
		t.Fatal(err)
	}
	missing := map[protoreflect.FullName]bool{}
	var look func(protoreflect.MessageDescriptors)
	look = func(all protoreflect.MessageDescriptors) {
		for n := range all.Len() {
			m := all.Get(n)
			for i := range m.Fields().Len() {
				f := m.Fields().Get(i)
				if f.Message() != nil && f.Message().IsPlaceholder() || f.Enum() != nil && f.Enum().IsPlaceholder() {
					missing[f.FullName()] = true
				}
			}
			look(m.Messages())
		}
	}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool { look(f.Messages()); return true })
	if len(missing) > 0 {
		t.Errorf("%d fields have no type: %v", len(missing), missing)
	}
}
