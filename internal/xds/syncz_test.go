package xds

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answers of istiods of several versions.
var answers = map[string]struct {
	body string
	want []Proxy
}{
	"1.18": {
		`[{"cluster_id":"Kubernetes","proxy":"web-1.shop","istio_version":"1.18.7","cluster_sent":"n1","cluster_acked":"n1","listener_sent":"n2","listener_acked":"n2","route_sent":"n3","route_acked":"n3","endpoint_sent":"n4","endpoint_acked":"n4"}]`,
		[]Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1", Version: "1.18.7", Cluster: "Kubernetes", Synced: true}},
	},
	"1.31, with resources": {
		`[{"cluster_id":"east","proxy":"a.b.c.shop","proxy_type":"sidecar","istio_version":"1.31.0","cluster_sent":"n1","cluster_acked":"n0","resources":{"type.googleapis.com/envoy.config.cluster.v3.Cluster":{"sent":"n1","acked":"n0","sentTime":"2026-01-01T00:00:00Z"}}}]`,
		[]Proxy{{ID: "a.b.c.shop", Namespace: "shop", Pod: "a.b.c", Version: "1.31.0", Cluster: "east"}},
	},
	"1.31, rejected": {
		`[{"proxy":"web-1.shop","istio_version":"1.31.0","listener_sent":"n1","resources":{"type.googleapis.com/envoy.config.cluster.v3.Cluster":{"sent":"n1"},"type.googleapis.com/envoy.config.listener.v3.Listener":{"sent":"n1","lastError":"no such filter"}}}]`,
		[]Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1", Version: "1.31.0", Rejected: "Listener: no such filter"}},
	},
	"resources became a list":    {`[{"proxy":"web-1.shop","resources":[1]}]`, []Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1", Synced: true}}},
	"nothing sent yet":           {`[{"proxy":"web-1.shop"}]`, []Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1", Synced: true}}},
	"sent and not acknowledged":  {`[{"proxy":"web-1.shop","route_sent":"x"}]`, []Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1"}}},
	"only the version of Envoy":  {`[{"proxy":"web-1.shop","proxy_version":"1.20.8"}]`, []Proxy{{ID: "web-1.shop", Namespace: "shop", Pod: "web-1", Version: "1.20.8", Synced: true}}},
	"a number became a string":   {`[{"proxy":7,"istio_version":{"v":1},"cluster_sent":1,"cluster_acked":1}]`, []Proxy{{ID: "7", Pod: "7", Version: `{"v":1}`, Synced: true}}},
	"an element that is empty":   {`[{},null]`, []Proxy{{ID: "unknown", Pod: "unknown", Synced: true}, {ID: "unknown", Pod: "unknown", Synced: true}}},
	"an id without a namespace":  {`[{"proxy":"vm"}]`, []Proxy{{ID: "vm", Pod: "vm", Synced: true}}},
	"nobody":                     {`[]`, nil},
	"nobody, said in other ways": {" null\n", nil},
}

func TestAnswersOfEveryVersionAreRead(t *testing.T) {
	for name, c := range answers {
		got, err := parse(strings.NewReader(c.body), "", maxBody)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnAnswerIsBounded(t *testing.T) {
	body := "[" + strings.Repeat(`{"proxy":"web-1.shop"},`, 1000)
	for _, limit := range []int{1, 10, 1000, len(body)} {
		if _, err := parse(strings.NewReader(body), "", int64(limit)); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("with a limit of %d bytes: error %v, want that the answer is too long", limit, err)
		}
	}
	whole := body + "{}]"
	if got, err := parse(strings.NewReader(whole), "", int64(len(whole))+1); err != nil || len(got) != 1001 {
		t.Errorf("an answer within the limit: %d proxies and error %v", len(got), err)
	}
}

func BenchmarkAnAnswerOfTenThousandProxies(b *testing.B) {
	element := `{"cluster_id":"Kubernetes","proxy":"web-1.shop","istio_version":"1.31.0","cluster_sent":"n","cluster_acked":"n","resources":{"` +
		strings.Repeat("x", 1000) + `":{}}}`
	body := "[" + strings.Repeat(element+",", 9999) + element + "]"
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parse(strings.NewReader(body), "", maxBody); err != nil {
			b.Fatal(err)
		}
	}
}

// A JSON list of n objects is n connections, and what is no JSON list is an error: never fewer connections than there are.
func FuzzAnAnswerNeverHidesAConnection(f *testing.F) {
	for _, a := range answers {
		f.Add(a.body)
	}
	f.Add(`[{"proxy":"a.b"}`)
	f.Add(`[{"proxy":"a.b"}]]`)
	f.Fuzz(func(t *testing.T, body string) {
		var list []json.RawMessage
		valid := json.Unmarshal([]byte(body), &list) == nil
		got, err := parse(strings.NewReader(body), "r", maxBody)
		if valid && err == nil && len(got) != len(list) {
			t.Errorf("%q holds %d elements and is read as %d connections", body, len(list), len(got))
		}
		for _, p := range got {
			if p.ID == "" || p.Replica != "r" {
				t.Errorf("%q gives a proxy without id or replica: %+v", body, p)
			}
		}
	})
}
