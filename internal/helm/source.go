package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	chartarchive "helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/registry"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/release"
)

// Limits of what is read from a repository, in bytes.
const (
	maxIndex = 64 << 20
	maxChart = 16 << 20
)

// unreleased is the version of Istio's charts in its source tree, where the release process writes the real one.
const unreleased = "1.0.0"

// inTree are the places of charts in Istio's source tree and release archive that differ from the charts' names.
var inTree = map[string]string{"istiod": "istio-control/istio-discovery", "cni": "istio-cni"}

// load reads a chart without the raw files, which a release would store.
func (c *Client) load(ctx context.Context, s release.Source) (*chartv2.Chart, error) {
	chart, err := c.whole(ctx, s)
	if err != nil {
		return nil, err
	}
	chart.Raw = nil
	return chart, nil
}

// whole reads a chart. Archives are kept in memory, a handful of them.
func (c *Client) whole(ctx context.Context, s release.Source) (*chartv2.Chart, error) {
	fail := func(err error) error {
		return fmt.Errorf("load chart %s %s from %s: %w", s.Name, s.Version, s.Repository, err)
	}
	chart, err := c.read(ctx, s)
	if err != nil {
		return nil, fail(err)
	}
	if chart.Name() != s.Name {
		return nil, fail(fmt.Errorf("it is the chart %q", chart.Name()))
	}
	if chart.Metadata.Version == unreleased {
		chart.Metadata.Version, chart.Metadata.AppVersion = s.Version, s.Version
	}
	if chart.Metadata.Version != s.Version {
		return nil, fail(fmt.Errorf("it has version %s", chart.Metadata.Version))
	}
	return chart, nil
}

func (c *Client) read(ctx context.Context, s release.Source) (*chartv2.Chart, error) {
	remote := strings.HasPrefix(s.Repository, "oci://") || strings.HasPrefix(s.Repository, "http://") || strings.HasPrefix(s.Repository, "https://")
	if s.Repository == release.BuiltIn {
		return c.readBuiltIn(s)
	}
	if !remote {
		return readDirectory(s)
	}
	archive, ok := c.charts.get(s)
	if !ok {
		var err error
		if strings.HasPrefix(s.Repository, "oci://") {
			archive, err = c.pull(s)
		} else {
			archive, err = c.download(ctx, s)
		}
		if err != nil {
			return nil, err
		}
		c.charts.put(s, archive)
	}
	return loader.LoadArchive(bytes.NewReader(archive))
}

func (c *Client) readBuiltIn(s release.Source) (*chartv2.Chart, error) {
	files := c.options.BuiltIn[s.Name]
	if files == nil {
		return nil, errors.New("no such chart is built in")
	}
	var list []*chartarchive.BufferedFile
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		list = append(list, &chartarchive.BufferedFile{Name: path, Data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return loader.LoadFiles(list)
}

// readDirectory finds a chart in a directory: as a folder, as an archive, or where Istio's source tree has it.
func readDirectory(s release.Source) (*chartv2.Chart, error) {
	for _, name := range []string{s.Name, s.Name + "-" + s.Version + ".tgz", inTree[s.Name]} {
		at := filepath.Join(s.Repository, filepath.FromSlash(name))
		info, err := os.Stat(at)
		if name == "" || err != nil {
			continue
		}
		if info.IsDir() {
			if _, err := os.Stat(filepath.Join(at, "Chart.yaml")); err != nil {
				continue
			}
			return loader.LoadDir(at)
		}
		return loader.LoadFile(at)
	}
	return nil, fmt.Errorf("there is neither a folder %s nor an archive %s-%s.tgz", s.Name, s.Name, s.Version)
}

func (c *Client) pull(s release.Source) ([]byte, error) {
	options := []registry.ClientOption{registry.ClientOptWriter(io.Discard), registry.ClientOptHTTPClient(c.options.HTTP)}
	if c.options.PlainHTTP {
		options = append(options, registry.ClientOptPlainHTTP())
	}
	client, err := registry.NewClient(options...)
	if err != nil {
		return nil, err
	}
	ref := strings.TrimSuffix(strings.TrimPrefix(s.Repository, "oci://"), "/") + "/" + s.Name + ":" + s.Version
	result, err := client.Pull(ref)
	if err != nil {
		return nil, err
	}
	return result.Chart.Data, nil
}

// entry is what is needed of an entry of index.yaml.
type entry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

func (c *Client) download(ctx context.Context, s release.Source) ([]byte, error) {
	base, err := url.Parse(strings.TrimSuffix(s.Repository, "/") + "/")
	if err != nil {
		return nil, err
	}
	data, err := c.fetch(ctx, base.JoinPath("index.yaml").String(), maxIndex)
	if err != nil {
		return nil, err
	}
	var index struct {
		Entries map[string][]entry `json:"entries"`
	}
	if err := yaml.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("read index.yaml: %w", err)
	}
	for _, e := range index.Entries[s.Name] {
		if strings.TrimPrefix(e.Version, "v") != s.Version || len(e.URLs) == 0 {
			continue
		}
		at, err := base.Parse(e.URLs[0])
		if err != nil {
			return nil, err
		}
		archive, err := c.fetch(ctx, at.String(), maxChart)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(archive); e.Digest != "" && !strings.EqualFold(strings.TrimPrefix(e.Digest, "sha256:"), hex.EncodeToString(sum[:])) {
			return nil, fmt.Errorf("%s does not have the digest that index.yaml names", at)
		}
		return archive, nil
	}
	return nil, errors.New("index.yaml has no such chart and version")
}

func (c *Client) fetch(ctx context.Context, at string, limit int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.options.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s", at, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", at, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("get %s: it is larger than %d MiB", at, limit>>20)
	}
	return data, nil
}

// cache keeps the last few archives.
type cache struct {
	mu    sync.Mutex
	items []cached
}

type cached struct {
	source  release.Source
	archive []byte
}

// kept is how many archives stay in memory: base and istiod of two versions.
const kept = 4

func (c *cache) get(s release.Source) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.items {
		if i.source == s {
			return i.archive, true
		}
	}
	return nil, false
}

func (c *cache) put(s release.Source, archive []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, cached{s, archive})
	if len(c.items) > kept {
		c.items = c.items[1:]
	}
}
