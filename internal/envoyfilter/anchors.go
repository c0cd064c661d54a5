package envoyfilter

import (
	"strings"

	"meshlift.dev/meshlift/internal/version"
)

// anchor is a name that istiod gives to something and that EnvoyFilters point at.
type anchor struct {
	// Since and Until are the Istio versions between which istiod gives it, Until not included; "" for no bound that is known.
	since, until string
	// Instead is the name afterwards.
	instead string
}

// filters are the names of network, listener and HTTP filters that istiod generates (pilot/pkg/xds/filters and pkg/wellknown of Istio
// 1.31; the changes from the upgrade notes of the versions).
var filters = map[string]anchor{
	"envoy.filters.network.http_connection_manager": {}, "envoy.filters.network.tcp_proxy": {}, "envoy.filters.network.rbac": {},
	"envoy.filters.network.ext_authz": {}, "envoy.filters.network.redis_proxy": {}, "envoy.filters.network.mongo_proxy": {},
	"envoy.filters.network.mysql_proxy": {}, "envoy.filters.network.sni_cluster": {}, "envoy.filters.network.wasm": {},
	"envoy.filters.listener.tls_inspector": {}, "envoy.filters.listener.http_inspector": {}, "envoy.filters.listener.original_dst": {},
	"envoy.filters.listener.original_src": {}, "envoy.filters.listener.proxy_protocol": {},
	"envoy.filters.http.router": {}, "envoy.filters.http.fault": {}, "envoy.filters.http.cors": {}, "envoy.filters.http.rbac": {},
	"envoy.filters.http.jwt_authn": {}, "envoy.filters.http.ext_authz": {}, "envoy.filters.http.grpc_stats": {}, "envoy.filters.http.grpc_web": {},
	"envoy.filters.http.stateful_session": {}, "envoy.filters.http.ext_proc": {}, "envoy.filters.http.wasm": {}, "envoy.filters.http.dynamic_forward_proxy": {},
	"istio.alpn": {}, "istio.metadata_exchange": {}, "istio.stats": {since: "1.18"}, "istio.peer_metadata": {},
	"istio_authn": {until: "1.30"}, // 1.22 makes it, 1.30 does not know its type any more
}

// oldNames are names of filters from before Envoy 1.14, which istiod no longer gives nor understands
// (https://istio.io/latest/news/releases/1.14.x/announcing-1.14/upgrade-notes/).
var oldNames = map[string]string{
	"envoy.http_connection_manager": "envoy.filters.network.http_connection_manager", "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
	"envoy.router": "envoy.filters.http.router", "envoy.fault": "envoy.filters.http.fault", "envoy.cors": "envoy.filters.http.cors",
	"envoy.grpc_web": "envoy.filters.http.grpc_web", "envoy.ext_authz": "envoy.filters.http.ext_authz", "envoy.lua": "envoy.filters.http.lua",
	"envoy.redis_proxy": "envoy.filters.network.redis_proxy", "envoy.mongo_proxy": "envoy.filters.network.mongo_proxy",
	"envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector", "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
	"envoy.listener.original_dst": "envoy.filters.listener.original_dst",
}

// clusters are those of the clusters that istiod generates for every proxy whose names have changed, measured on 1.20.8 and 1.30.3.
var clusters = map[string]anchor{
	"InboundPassthroughClusterIpv4": {until: "1.30", instead: "InboundPassthroughCluster"},
	"InboundPassthroughClusterIpv6": {until: "1.30", instead: "InboundPassthroughCluster"},
}

// relative operations need what they point at; the others only select.
var relative = map[string]bool{"INSERT_BEFORE": true, "INSERT_AFTER": true, "MERGE": true, "REMOVE": true, "REPLACE": true}

func (j *judge) anchors(patch map[string]any) {
	operation := text(patch, "patch", "operation")
	if name := text(patch, "match", "cluster", "name"); name != "" {
		j.anchor(clusters, "cluster", name, operation, true)
	}
	filter := dig(patch, "match", "listener", "filterChain", "filter")
	for _, name := range []string{text(filter, "name"), text(filter, "subFilter", "name"), text(patch, "match", "listener", "listenerFilter")} {
		if name != "" {
			j.anchor(filters, "filter", name, operation, false)
		}
	}
}

// anchor says what is known of one name; free names may be anything.
func (j *judge) anchor(known map[string]anchor, what, name, operation string, free bool) {
	if j.Added[name] {
		return
	}
	if now, ok := oldNames[name]; ok && !free {
		j.say(Breaks, "it points at the %s %s, a name that istiod has not given since 1.14: %s matches nothing, the name is %s", what, name, operation, now)
		return
	}
	a, ok := known[name]
	switch before, after := a.in(j.From), a.in(j.To); {
	case !ok && free:
	case !ok && relative[operation]:
		j.say(Unknown, "it points at the %s %s, which neither istiod is known to make nor another EnvoyFilter adds: %s does nothing when it is not there", what, name, operation)
	case !ok:
	case before && !after:
		j.say(Breaks, "it points at the %s %s, which istiod %s does not make any more%s: %s does nothing there", what, name, j.To, a.now(), operation)
	case !before && !after:
		j.say(Breaks, "it points at the %s %s, which neither version makes%s: %s does nothing", what, name, a.now(), operation)
	}
}

func (a anchor) now() string {
	if a.instead == "" {
		return ""
	}
	return " (it is " + a.instead + ")"
}

// in tells whether the version has the anchor; one that cannot be read has everything.
func (a anchor) in(v string) bool {
	have, err := version.ParseMinor(strings.TrimSpace(v))
	if err != nil {
		return true
	}
	since, serr := version.ParseMinor(a.since)
	until, uerr := version.ParseMinor(a.until)
	return (serr != nil || have.Compare(since) >= 0) && (uerr != nil || have.Compare(until) < 0)
}
