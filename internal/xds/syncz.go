package xds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"meshlift.dev/meshlift/internal/xdsdiff"
)

// maxBody bounds an answer: about 1 KiB for each proxy, and one istiod does not serve 100 000.
const maxBody = 128 << 20

// syncz asks one replica: with the token, once more with a fresh one when that is refused. Where no token can be had, it
// asks without, because old istiods need none.
func (c *Client) syncz(ctx context.Context, pod *corev1.Pod) ([]Proxy, error) {
	if pod.Status.PodIP == "" {
		return nil, errors.New("its pod has no IP")
	}
	token, tokenErr := c.tokens.get(ctx, "")
	proxies, status, err := c.ask(ctx, pod, token)
	if refused(status) && tokenErr == nil {
		if token, tokenErr = c.tokens.get(ctx, token); tokenErr == nil {
			proxies, status, err = c.ask(ctx, pod, token)
		}
	}
	if refused(status) && tokenErr != nil {
		return nil, errors.Join(err, tokenErr)
	}
	return proxies, err
}

func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden
}

// ask returns the proxies of one answer; the status is 0 when there was none.
func (c *Client) ask(ctx context.Context, pod *corev1.Pod, token string) (_ []Proxy, status int, _ error) {
	url := "http://" + net.JoinHostPort(pod.Status.PodIP, monitoringPort) + "/debug/syncz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, resp.StatusCode, fmt.Errorf("GET %s: %s%s", url, resp.Status, hint(resp.StatusCode))
	}
	proxies, err := parse(resp.Body, pod.Name, maxBody)
	if err != nil {
		return nil, resp.StatusCode, fmt.Errorf("read the answer to GET %s: %w", url, err)
	}
	return proxies, resp.StatusCode, nil
}

func hint(status int) string {
	switch {
	case refused(status):
		return " (istiod shows its connections only to identities of the Istio namespace; see DEBUG_ENDPOINT_AUTH_ALLOWED_NAMESPACES and TOKEN_AUDIENCES of istiod)"
	case status == http.StatusNotFound:
		return " (its debug endpoints are off: set ENABLE_DEBUG_ON_HTTP=true on istiod)"
	}
	return ""
}

// entry is one element of the answer of Istio 1.18 to 1.31; newer fields are not needed
// (SyncStatus in pilot/pkg/xds/debug.go).
type entry struct {
	Cluster  text `json:"cluster_id"`
	Proxy    text `json:"proxy"`
	Istio    text `json:"istio_version"`
	Envoy    text `json:"proxy_version"` // up to 1.19 some answers have only this one
	CDSSent  text `json:"cluster_sent"`
	CDSAcked text `json:"cluster_acked"`
	LDSSent  text `json:"listener_sent"`
	LDSAcked text `json:"listener_acked"`
	RDSSent  text `json:"route_sent"`
	RDSAcked text `json:"route_acked"`
	EDSSent  text `json:"endpoint_sent"`
	EDSAcked text `json:"endpoint_acked"`

	Resources resources `json:"resources"`
}

// resources are the states of all types that the proxy asked for, by their URL. What cannot be read is not there.
type resources map[string]struct {
	LastError text `json:"lastError"`
}

// UnmarshalJSON never fails on valid JSON.
func (r *resources) UnmarshalJSON(data []byte) error {
	type plain resources
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		p = nil
	}
	*r = resources(p)
	return nil
}

// rejected is the first error of the proxy, by the URL of the type.
func (r resources) rejected() string {
	for _, url := range slices.Sorted(maps.Keys(r)) {
		if why := string(r[url].LastError); why != "" {
			return url[strings.LastIndexByte(url, '.')+1:] + ": " + why
		}
	}
	return ""
}

// text is a JSON string; any other value is kept as it is written, so that a field that changes its type in a future Istio
// never hides a connection.
type text string

// UnmarshalJSON never fails on valid JSON.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		s = string(data)
	}
	*t = text(s)
	return nil
}

// parse reads an answer of at most limit bytes: a JSON array with one element for each connection, or null. It reads one
// element at a time, since a large mesh answers with many megabytes. Every element counts as a connection, even one that says nothing,
// but for those by which Meshlift itself asks ([Questions]).
func parse(body io.Reader, replica string, limit int64) ([]Proxy, error) {
	limited := &io.LimitedReader{R: body, N: limit}
	d := json.NewDecoder(limited)
	fail := func(err error) ([]Proxy, error) {
		if limited.N <= 0 {
			return nil, fmt.Errorf("the answer is longer than %d bytes", limit)
		}
		return nil, fmt.Errorf("the answer is not a list of proxies: %w", err)
	}
	open, err := d.Token()
	if err != nil {
		return fail(err)
	}
	var out []Proxy
	switch open {
	case nil:
		return nil, nil
	case json.Delim('['):
	default:
		return fail(fmt.Errorf("it begins with %v", open))
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return fail(err)
		}
		var e entry
		if err := json.Unmarshal(raw, &e); err != nil {
			return fail(err)
		}
		if p := e.asProxy(replica); !strings.HasSuffix(p.Pod, xdsdiff.Mark) { // a question of ours is no proxy
			out = append(out, p)
		}
	}
	if _, err := d.Token(); err != nil {
		return fail(err)
	}
	return out, nil
}

func (e entry) asProxy(replica string) Proxy {
	p := Proxy{ID: string(e.Proxy), Replica: replica, Version: string(e.Istio), Cluster: string(e.Cluster), Synced: e.synced(), Rejected: e.Resources.rejected()}
	if p.ID == "" {
		p.ID = "unknown"
	}
	if p.Version == "" {
		p.Version = string(e.Envoy)
	}
	p.Pod = p.ID
	if dot := strings.LastIndexByte(p.ID, '.'); dot >= 0 { // a pod name may hold dots, a namespace may not
		p.Pod, p.Namespace = p.ID[:dot], p.ID[dot+1:]
	}
	return p
}

// synced compares nonces as `istioctl proxy-status` does: what was never sent need not be acknowledged.
func (e entry) synced() bool {
	for _, nonces := range [][2]text{{e.CDSSent, e.CDSAcked}, {e.LDSSent, e.LDSAcked}, {e.RDSSent, e.RDSAcked}, {e.EDSSent, e.EDSAcked}} {
		if sent, acked := nonces[0], nonces[1]; sent != "" && sent != acked {
			return false
		}
	}
	return true
}
