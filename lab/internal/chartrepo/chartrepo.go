// Package chartrepo serves the charts of several versions of Istio, and stand-ins for those of operators, as an ordinary Helm
// repository.
package chartrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	repo "helm.sh/helm/v4/pkg/repo/v1"
	"sigs.k8s.io/yaml"
)

// Path is where the repository is below the root of the server.
const Path = "/charts/"

// served are the names of the charts in the repository; Istio's source has more that users do not install.
var served = map[string]bool{"base": true, "istiod": true, "gateway": true, "cni": true, "ztunnel": true}

// Repository is a Helm repository. Its archives are made when somebody first asks for them.
type Repository struct {
	versions map[string]string
	dir      string
	pack     func() error
}

// New returns the repository of the given versions; each maps to a directory that holds charts/, in the layout of
// Istio's source or of its releases. Archives go to dir.
func New(versions map[string]string, dir string) *Repository {
	r := &Repository{versions: versions, dir: dir}
	r.pack = sync.OnceValue(r.packAll)
	return r
}

// Load loads a chart of a version from its directory.
func (r *Repository) Load(name, version string) (*chartv2.Chart, error) {
	root, ok := r.versions[version]
	if !ok {
		return nil, fmt.Errorf("no Istio %s in the lab", version)
	}
	found, err := find(filepath.Join(root, "charts"))
	if err != nil {
		return nil, err
	}
	path, ok := found[name]
	if !ok {
		return nil, fmt.Errorf("no chart %s of Istio %s below %s", name, version, root)
	}
	return load(path, version)
}

func load(path, version string) (*chartv2.Chart, error) {
	c, err := loader.LoadDir(path)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", path, err)
	}
	// The lab's name of the version decides: that of the files is a placeholder in a source tree, and one Istio may be
	// served under several versions.
	c.Metadata.Version, c.Metadata.AppVersion = version, version
	return c, nil
}

// find returns the directories of the served charts below root by their names in Chart.yaml.
func find(root string) (map[string]string, error) {
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "Chart.yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var chart struct {
			Name string `json:"name"`
		}
		if err := yaml.Unmarshal(content, &chart); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if served[chart.Name] && found[chart.Name] == "" {
			found[chart.Name] = filepath.Dir(path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find charts: %w", err)
	}
	return found, nil
}

// packAll writes an archive of every chart and the index.
func (r *Repository) packAll() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("chart repository: %w", err)
	}
	for version, root := range r.versions {
		charts, err := find(filepath.Join(root, "charts"))
		if err != nil {
			return err
		}
		for _, path := range charts {
			c, err := load(path, version)
			if err != nil {
				return err
			}
			if _, err := util.Save(c, r.dir); err != nil {
				return fmt.Errorf("pack %s: %w", path, err)
			}
		}
	}
	for _, s := range standIns {
		c, err := s.chart()
		if err != nil {
			return err
		}
		if _, err := util.Save(c, r.dir); err != nil {
			return fmt.Errorf("pack %s: %w", s.name, err)
		}
	}
	index, err := repo.IndexDirectory(r.dir, "")
	if err != nil {
		return fmt.Errorf("index charts: %w", err)
	}
	index.SortEntries()
	if err := index.WriteFile(filepath.Join(r.dir, "index.yaml"), 0o644); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// ServeHTTP serves index.yaml and the archives below Path.
func (r *Repository) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	name, ok := strings.CutPrefix(request.URL.Path, Path)
	if !ok || name != filepath.Base(name) || (name != "index.yaml" && !strings.HasSuffix(name, ".tgz")) {
		http.NotFound(w, request)
		return
	}
	if err := r.pack(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		http.NotFound(w, request)
		return
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if strings.HasSuffix(name, ".tgz") {
		w.Header().Set("Content-Type", "application/gzip")
	} else {
		w.Header().Set("Content-Type", "application/yaml")
	}
	_, _ = w.Write(content)
}
