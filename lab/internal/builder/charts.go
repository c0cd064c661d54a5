package builder

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// chartPaths maps the charts that users install to their places in the source of Istio.
var chartPaths = map[string]string{
	"base":    "manifests/charts/base",
	"istiod":  "manifests/charts/istio-control/istio-discovery",
	"gateway": "manifests/charts/gateway",
	"cni":     "manifests/charts/istio-cni",
	"ztunnel": "manifests/charts/ztunnel",
}

// recipe changes when the way in which charts are made changes, so that existing ones are made again.
const recipe = "3"

// charts is the step that makes .lab/istio/<version>: the binaries and the charts of one version of Istio. When
// compatibility is not empty, the istiod chart has that compatibilityVersion as its default.
func (b *Builder) charts(source, version, compatibility string) step {
	dir := b.Dir.Istio(version)
	return step{
		name:    "istio-" + version + "-charts",
		outputs: []string{filepath.Join(dir, "charts"), filepath.Join(dir, "pilot-discovery")},
		stamp: func(context.Context) (string, error) {
			return stamp(source, []string{recipe, version, compatibility})
		},
		run: func(ctx context.Context, _ *progress) error {
			module, err := moduleDir(ctx, source, istioModule)
			if err != nil {
				return err
			}
			return replaceDir(dir, func(temporary string) error {
				for _, program := range []string{"pilot-discovery", "pilot-agent"} {
					target := filepath.Join("..", "..", "bin", "istio-"+version+"-"+program)
					if err := os.Symlink(target, filepath.Join(temporary, program)); err != nil {
						return fmt.Errorf("link %s: %w", program, err)
					}
				}
				for name, path := range chartPaths {
					if err := copyChart(filepath.Join(module, path), filepath.Join(temporary, "charts", name), version, compatibility); err != nil {
						return fmt.Errorf("chart %s: %w", name, err)
					}
				}
				return nil
			})
		},
	}
}

// copyChart copies a chart and stamps it with a version, as Istio's own release does.
func copyChart(from, to, version, compatibility string) error {
	return copyTree(from, to, func(path string, content []byte) []byte {
		switch path {
		case "Chart.yaml":
			return stampChart(content, version)
		case "values.yaml":
			content = stampValues(content, version)
			if filepath.Base(to) == "istiod" && compatibility != "" {
				content = append(content, compatibilityDefault(compatibility)...)
			}
		}
		return content
	})
}

var (
	chartVersion = regexp.MustCompile(`(?m)^(version|appVersion): .*$`)
	imageTag     = regexp.MustCompile(`(?m)^(\s+tag:) latest$`)
	imageHub     = regexp.MustCompile(`(?m)^(\s+hub:) (gcr\.io/istio-testing|registry\.istio\.io/testing)$`)
)

func stampChart(content []byte, version string) []byte {
	return chartVersion.ReplaceAll(content, []byte("${1}: "+version))
}

func stampValues(content []byte, version string) []byte {
	content = imageTag.ReplaceAll(content, []byte("${1} "+version))
	return imageHub.ReplaceAll(content, []byte("${1} "+IstioHub))
}

// compatibilityDefault is appended to the istiod chart's values. It is read from the root of the values, before the
// chart merges its own defaults (which are below another key): see templates/zzz_profile.yaml of the chart.
func compatibilityDefault(version string) string {
	return fmt.Sprintf("\n# This chart is made of a newer Istio's: it behaves like this version.\ncompatibilityVersion: %q\n", version)
}

// gatewayCRDs is the step that copies the standard CRDs of the Gateway API.
func (b *Builder) gatewayCRDs(source string) step {
	dir := b.Dir.GatewayAPI()
	return step{
		name: "gateway-api", outputs: []string{dir},
		stamp: func(context.Context) (string, error) { return stamp(source, []string{recipe}) },
		run: func(ctx context.Context, _ *progress) error {
			module, err := moduleDir(ctx, source, gatewayAPI)
			if err != nil {
				return err
			}
			return replaceDir(dir, func(temporary string) error {
				return copyTree(filepath.Join(module, "config/crd/standard"), temporary, func(_ string, c []byte) []byte { return c })
			})
		},
	}
}

// rolloutsManifest is the step that copies what a user of Argo Rollouts applies: CRDs, roles and the controller.
func (b *Builder) rolloutsManifest(source string) step {
	dir := b.Dir.ArgoRollouts()
	return step{
		name: "rollouts-manifest", outputs: []string{dir},
		stamp: func(context.Context) (string, error) { return stamp(source, []string{recipe}) },
		run: func(ctx context.Context, _ *progress) error {
			module, err := moduleDir(ctx, source, argoRollouts)
			if err != nil {
				return err
			}
			return replaceDir(dir, func(temporary string) error {
				manifest, err := os.ReadFile(filepath.Join(module, "manifests", "install.yaml"))
				if err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(temporary, "install.yaml"), manifest, 0o644)
			})
		},
	}
}

// olmCRDs is the step that copies the CRDs of the Operator Lifecycle Manager.
func (b *Builder) olmCRDs(source string) step {
	dir := b.Dir.OLM()
	return step{
		name: "olm-crds", outputs: []string{dir},
		stamp: func(context.Context) (string, error) { return stamp(source, []string{recipe}) },
		run: func(ctx context.Context, _ *progress) error {
			module, err := moduleDir(ctx, source, olmAPI)
			if err != nil {
				return err
			}
			return replaceDir(dir, func(temporary string) error {
				return copyYAML(filepath.Join(module, "crds"), temporary)
			})
		},
	}
}

// copyYAML copies the YAML files of one directory.
func copyYAML(from, to string) error {
	names, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replaceDir fills a new directory and puts it in the place of dir.
func replaceDir(dir string, fill func(temporary string) error) error {
	temporary := dir + ".tmp"
	if err := os.RemoveAll(temporary); err != nil {
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	if err := os.MkdirAll(temporary, 0o755); err != nil {
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	if err := fill(temporary); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	if err := os.Rename(temporary, dir); err != nil {
		return fmt.Errorf("replace %s: %w", dir, err)
	}
	return nil
}

// copyTree copies the files below from, each through edit, which gets its slash-separated relative path.
func copyTree(from, to string, edit func(path string, content []byte) []byte) error {
	root := os.DirFS(from)
	return fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		content, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, edit(strings.TrimPrefix(path, "./"), content), 0o644)
	})
}
