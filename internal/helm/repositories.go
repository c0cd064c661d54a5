package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chartarchive "helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
	repo "helm.sh/helm/v4/pkg/repo/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"meshlift.dev/meshlift/internal/release"
)

// Repositories reads charts from repositories and puts them into others. It needs no cluster.
type Repositories struct{ client *Client }

// NewRepositories returns one; plain speaks http with OCI registries.
func NewRepositories(plain bool) *Repositories {
	return &Repositories{&Client{options: Options{HTTP: &http.Client{Timeout: time.Minute}, PlainHTTP: plain}}}
}

// Archive returns a chart as an archive with its file name, "istiod-1.31.0.tgz".
func (r *Repositories) Archive(ctx context.Context, s release.Source) (name string, data []byte, err error) {
	chart, err := r.client.whole(ctx, s)
	if err != nil {
		return "", nil, err
	}
	return packed(chart)
}

// Pack returns the archive of a chart whose files are given by their paths in it.
func (r *Repositories) Pack(files map[string][]byte) (name string, data []byte, err error) {
	list := make([]*chartarchive.BufferedFile, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, &chartarchive.BufferedFile{Name: name, Data: files[name]})
	}
	chart, err := loader.LoadFiles(list)
	if err != nil {
		return "", nil, fmt.Errorf("read the chart: %w", err)
	}
	return packed(chart)
}

func packed(chart *chartv2.Chart) (name string, data []byte, err error) {
	fail := func(err error) (string, []byte, error) {
		return "", nil, fmt.Errorf("pack chart %s: %w", chart.Name(), err)
	}
	dir, err := os.MkdirTemp("", "meshlift-chart-")
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	at, err := chartutil.Save(chart, dir)
	if err != nil {
		return fail(err)
	}
	data, err = os.ReadFile(at)
	if err != nil {
		return fail(err)
	}
	return filepath.Base(at), data, nil
}

// Push puts a chart archive into an OCI registry, "oci://registry.example.com/charts". What is there under its version is
// replaced.
func (r *Repositories) Push(_ context.Context, repository string, data []byte) error {
	chart, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("read the chart: %w", err)
	}
	options := []registry.ClientOption{registry.ClientOptWriter(io.Discard), registry.ClientOptHTTPClient(r.client.options.HTTP)}
	if r.client.options.PlainHTTP {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", repository, err)
	}
	ref := strings.TrimSuffix(strings.TrimPrefix(repository, "oci://"), "/") + "/" + chart.Name() + ":" + strings.ReplaceAll(chart.Metadata.Version, "+", "_")
	if _, err := client.Push(data, ref); err != nil {
		return fmt.Errorf("push chart %s %s to %s: %w", chart.Name(), chart.Metadata.Version, repository, err)
	}
	return nil
}

// Write makes a directory a Helm repository that holds the archives, with an index.yaml; any web server can serve it.
func (r *Repositories) Write(dir string, archives map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the chart repository: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(archives)) {
		if err := os.WriteFile(filepath.Join(dir, name), archives[name], 0o644); err != nil { //nolint:gosec // charts are for everybody
			return fmt.Errorf("write the chart repository: %w", err)
		}
	}
	index, err := repo.IndexDirectory(dir, "")
	if err != nil {
		return fmt.Errorf("index the chart repository: %w", err)
	}
	index.SortEntries()
	if err := index.WriteFile(filepath.Join(dir, "index.yaml"), 0o644); err != nil {
		return fmt.Errorf("index the chart repository: %w", err)
	}
	return nil
}

// Images returns the images of all containers that a chart renders with its default values, sorted.
func (r *Repositories) Images(data []byte) ([]string, error) {
	chart, err := loader.LoadArchive(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	objects, err := render(chart, release.Spec{Name: chart.Name(), Namespace: "default"}, common.DefaultCapabilities.Copy())
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, o := range objects {
		images(o, found)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// images collects the images of the pod or pod template of an object.
func images(o *unstructured.Unstructured, into map[string]bool) {
	for _, at := range [][]string{{"spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		for _, kind := range []string{"containers", "initContainers"} {
			list, _, err := unstructured.NestedSlice(o.Object, append(slices.Clone(at), kind)...)
			if err != nil {
				continue
			}
			for _, c := range list {
				if m, ok := c.(map[string]any); ok {
					if image, ok := m["image"].(string); ok && image != "" && image != "auto" {
						into[image] = true
					}
				}
			}
		}
	}
}
