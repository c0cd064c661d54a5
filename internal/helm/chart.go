package helm

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/release"
)

// word is an identifier in a template.
var word = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// Describe loads a chart and says what it is.
func (c *Client) Describe(ctx context.Context, s release.Source) (release.Chart, error) {
	chart, err := c.load(ctx, s)
	if err != nil {
		return release.Chart{}, err
	}
	out := release.Chart{Name: chart.Name(), Version: chart.Metadata.Version, Defaults: chart.Values, Words: map[string]bool{}}
	for _, f := range chart.Files {
		out.Files = append(out.Files, f.Name)
	}
	slices.Sort(out.Files)
	// Only what stands between {{ and }} reads values.
	for _, t := range chart.Templates {
		for _, action := range strings.Split(string(t.Data), "{{")[1:] {
			action, _, _ = strings.Cut(action, "}}")
			for _, w := range word.FindAllString(action, -1) {
				out.Words[w] = true
			}
		}
	}
	// Injection templates of istiod read values too.
	for _, f := range chart.Files {
		if strings.HasPrefix(f.Name, "files/") && strings.Contains(string(f.Data), ".Values") {
			for _, w := range word.FindAllString(string(f.Data), -1) {
				out.Words[w] = true
			}
		}
	}
	return out, nil
}

// Render returns the objects that the spec's chart makes of its values on this cluster, those of a crds/ folder
// included, as "helm template" does. Nothing is written.
func (c *Client) Render(ctx context.Context, s release.Spec) ([]*unstructured.Unstructured, error) {
	chart, err := c.load(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	cfg, err := c.configuration(s.Namespace)
	if err != nil {
		return nil, err
	}
	info, err := cfg.KubernetesClientSet()
	if err != nil {
		return nil, fmt.Errorf("connect helm to the cluster: %w", err)
	}
	server, err := info.Discovery().ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask for the version of Kubernetes: %w", err)
	}
	caps := common.DefaultCapabilities.Copy()
	caps.KubeVersion = common.KubeVersion{Version: server.GitVersion, Major: server.Major, Minor: server.Minor}
	return render(chart, s, caps)
}

func render(chart *chartv2.Chart, s release.Spec, caps *common.Capabilities) ([]*unstructured.Unstructured, error) {
	fail := func(err error) ([]*unstructured.Unstructured, error) {
		return nil, fmt.Errorf("render chart %s %s: %w", chart.Name(), chart.Metadata.Version, err)
	}
	options := common.ReleaseOptions{Name: s.Name, Namespace: s.Namespace, Revision: 1, IsUpgrade: true}
	values, err := commonutil.ToRenderValuesWithSchemaValidation(chart, deepCopy(s.Values), options, caps, true)
	if err != nil {
		return fail(err)
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return fail(err)
	}
	for _, crd := range chart.CRDObjects() {
		files[crd.Filename] = string(crd.File.Data)
	}
	var out []*unstructured.Unstructured
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		for _, doc := range releaseutil.SplitManifests(text) {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &object.Object); err != nil {
				return fail(fmt.Errorf("%s: %w", name, err))
			}
			if object.GetKind() != "" {
				out = append(out, object)
			}
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int {
		return strings.Compare(key(a), key(b))
	})
	return out, nil
}

func key(u *unstructured.Unstructured) string {
	return u.GetKind() + "/" + u.GetNamespace() + "/" + u.GetName()
}

// deepCopy copies values, because the SDK writes into those that it is given.
func deepCopy(values map[string]any) map[string]any {
	if values == nil {
		return map[string]any{}
	}
	out := make(map[string]any, len(values))
	for k, v := range values {
		out[k] = deepCopyValue(v)
	}
	return out
}

func deepCopyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return deepCopy(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = deepCopyValue(e)
		}
		return out
	}
	return v
}
