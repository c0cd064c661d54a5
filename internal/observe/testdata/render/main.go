// Command render writes the webhook configurations that Istio's charts render, without their CA bundles, as test data:
//
//	cd lab && go run ../internal/observe/testdata/render/main.go CHARTS > ../internal/observe/testdata/webhooks.json
//
// CHARTS is the directory manifests/charts of the Istio source. It runs in the module of the lab, because in that of the
// product only package helm may import the Helm SDK.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

func main() {
	out := map[string][]any{}
	for name, values := range map[string]map[string]any{
		"istiod":                 {},
		"istiod-1-30":            {"revision": "1-30"},
		"istiod-1-30 is default": {"revision": "1-30", "revisionTags": []any{"default"}},
		"istiod-1-31 is prod":    {"revision": "1-31", "revisionTags": []any{"prod"}},
		"istiod-1-31 by default": {"revision": "1-31", "sidecarInjectorWebhook": map[string]any{"enableNamespacesByDefault": true}, "revisionTags": []any{"default"}},
	} {
		objects, err := render(filepath.Join(os.Args[1], "istio-control/istio-discovery"), values)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out[name] = objects
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func render(dir string, values map[string]any) ([]any, error) {
	c, err := loader.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValuesWithSchemaValidation(c, values,
		common.ReleaseOptions{Name: "istiod", Namespace: "istio-system", IsInstall: true}, common.DefaultCapabilities, true)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	var out []any
	for _, name := range slices.Sorted(keys(files)) {
		for doc := range strings.SplitSeq(files[name], "\n---") {
			var o map[string]any
			if err := yaml.Unmarshal([]byte(doc), &o); err != nil || o == nil {
				continue
			}
			if kind, _ := o["kind"].(string); strings.HasSuffix(kind, "WebhookConfiguration") || kind == "Service" {
				out = append(out, small(o))
			}
		}
	}
	return out, nil
}

// small keeps what decides about matching.
func small(o map[string]any) map[string]any {
	meta := o["metadata"].(map[string]any)
	labels := map[string]any{}
	for _, key := range []string{"app", "istio.io/rev", "istio.io/tag"} {
		if v, ok := meta["labels"].(map[string]any)[key]; ok {
			labels[key] = v
		}
	}
	out := map[string]any{"kind": o["kind"], "metadata": map[string]any{"name": meta["name"], "namespace": meta["namespace"], "labels": labels}}
	if spec, ok := o["spec"].(map[string]any); ok {
		out["spec"] = map[string]any{"selector": spec["selector"]}
	}
	if webhooks, ok := o["webhooks"].([]any); ok {
		for _, w := range webhooks {
			if config, ok := w.(map[string]any)["clientConfig"].(map[string]any); ok {
				delete(config, "caBundle")
			}
		}
		out["webhooks"] = webhooks
	}
	return out
}

func keys(m map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
