// Package bundle implements "meshlift bundle": everything that a site without internet needs, in one file.
package bundle

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/bundle"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/release"
)

// Repositories reads and writes chart repositories; package helm implements it.
type Repositories interface {
	Archive(ctx context.Context, s release.Source) (name string, data []byte, err error)
	Pack(files map[string][]byte) (name string, data []byte, err error)
	Push(ctx context.Context, repository string, data []byte) error
	Write(dir string, archives map[string][]byte) error
	Images(data []byte) ([]string, error)
}

// Connect returns the repositories; plain speaks http with OCI registries.
type Connect func(plain bool) Repositories

// NewCommand returns the command "bundle"; own are the charts of Meshlift itself.
func NewCommand(e *env.Env, connect Connect, own ...fs.FS) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bundle", Short: "Carry charts and catalog to a site without internet",
		Long: `Carry everything that a site without internet needs in one file: the Helm charts of the Istio releases and of the components of
the catalog, the charts of Meshlift, the catalog itself, and the list of the images to mirror.

` + exit.Help,
		Example: strings.ReplaceAll(`  # Where there is internet
  {} bundle create --releases 1.30,1.31 -o meshlift-bundle.tgz

  # Where there is none: into the registry of the site, and name it as the only source
  {} bundle load meshlift-bundle.tgz --to oci://registry.example.com/charts --image-hub registry.example.com/istio --apply`, "{}", e.Program),
		Args: exit.NoSubcommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCreate(e, connect, own), newInspect(e), newLoad(e, connect))
	return cmd
}

type create struct {
	env      *env.Env
	connect  Connect
	own      []fs.FS
	catalog  string
	releases []string
	output   string
	plain    bool
}

func newCreate(e *env.Env, connect Connect, own []fs.FS) *cobra.Command {
	o := &create{env: e, connect: connect, own: own}
	cmd := &cobra.Command{
		Use: "create", Short: "Pack charts, catalog and the list of images into one file", Args: cobra.NoArgs,
		Long: `Pack the charts of the Istio releases of the catalog, of its components and of Meshlift, the catalog, and the list of images.

The catalog is the built-in one with the entries of --catalog. Nothing of a cluster is read.`,
		RunE: func(cmd *cobra.Command, _ []string) error { cmd.SilenceUsage = true; return o.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&o.catalog, "catalog", "", "File with a Catalog object whose entries are added to the built-in catalog")
	f.StringSliceVar(&o.releases, "releases", nil, "Istio minor versions to pack (default: the two newest of the catalog)")
	f.StringVarP(&o.output, "output", "o", "meshlift-bundle.tgz", "File to write")
	f.BoolVar(&o.plain, "plain-http", false, "Speak http with OCI registries")
	return cmd
}

// istioCharts are the charts of one Istio release, as far as the repository has them; the first two it must have.
var istioCharts = []string{"base", "istiod", "gateway", "cni", "ztunnel"}

const mustHave = 2

func (o *create) run(ctx context.Context) error {
	cat, err := effective(o.catalog)
	if err != nil {
		return exit.Usagef("%w", err)
	}
	chosen, err := choose(cat, o.releases)
	if err != nil {
		return exit.Usagef("%w", err)
	}
	out := bundle.Bundle{Meshlift: o.env.Version, Catalog: v1alpha1.CatalogSpec(cat), Charts: map[string][]byte{}}
	images := map[string]bool{}
	repositories := o.connect(o.plain)
	for _, r := range chosen {
		if err := o.istio(ctx, repositories, cat.ChartRepository, r, out.Charts); err != nil {
			return err
		}
		hub := cat.ImageHub
		if hub == "" {
			hub = "docker.io/istio"
		}
		for _, name := range []string{"pilot", "proxyv2", "install-cni", "ztunnel"} {
			images[hub+"/"+name+":"+r.Patch] = true
		}
	}
	if err := o.others(ctx, repositories, cat, out.Charts, images); err != nil {
		return err
	}
	out.Images = slices.Sorted(maps.Keys(images))
	var data bytes.Buffer
	if err := bundle.Write(&data, out); err != nil {
		return err
	}
	if err := os.WriteFile(o.output, data.Bytes(), 0o644); err != nil { //nolint:gosec // charts are for everybody
		return fmt.Errorf("write the bundle: %w", err)
	}
	_, err = fmt.Fprintf(o.env.Out, "%s: %d charts, %d images to mirror, %.1f MB\n", o.output, len(out.Charts), len(out.Images), float64(data.Len())/1e6)
	return err
}

func (o *create) istio(ctx context.Context, repositories Repositories, repository string, r v1alpha1.Release, into map[string][]byte) error {
	for n, name := range istioCharts {
		file, data, err := repositories.Archive(ctx, release.Source{Repository: repository, Name: name, Version: r.Patch})
		if err != nil && n >= mustHave {
			_, _ = fmt.Fprintf(o.env.ErrOut, "left out: %v\n", err)
			continue
		}
		if err != nil {
			return err
		}
		into[file] = data
	}
	return nil
}

// others packs components and Meshlift itself.
func (o *create) others(ctx context.Context, repositories Repositories, cat catalog.Catalog, into map[string][]byte, images map[string]bool) error {
	add := func(file string, data []byte) error {
		into[file] = data
		found, err := repositories.Images(data)
		for _, i := range found {
			images[i] = true
		}
		return err
	}
	for _, c := range cat.Components {
		if c.Helm == nil || c.Version == "" || c.Helm.Chart == component.AgentChart {
			continue // nothing is offered, or it is packed below
		}
		s := release.Source{Repository: c.Helm.Repository, Name: c.Helm.Chart, Version: c.Helm.ChartVersion}
		if s.Repository == "" {
			s.Repository = cat.ChartRepository
		}
		if s.Version == "" {
			s.Version = c.Version
		}
		file, data, err := repositories.Archive(ctx, s)
		if err != nil {
			_, _ = fmt.Fprintf(o.env.ErrOut, "left out: component %s: %v\n", c.Name, err)
			continue
		}
		if err := add(file, data); err != nil {
			return err
		}
	}
	for _, own := range o.own {
		files, err := read(own)
		if err != nil {
			return err
		}
		file, data, err := repositories.Pack(files)
		if err != nil {
			return err
		}
		if err := add(file, data); err != nil {
			return err
		}
	}
	return nil
}

func read(files fs.FS) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[path], err = fs.ReadFile(files, path)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the chart of Meshlift: %w", err)
	}
	return out, nil
}

// effective is the built-in catalog with the entries of a file.
func effective(file string) (catalog.Catalog, error) {
	c := catalog.Default()
	if file == "" {
		return c, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("read the catalog: %w", err)
	}
	o := &v1alpha1.Catalog{}
	if err := yaml.UnmarshalStrict(data, o); err != nil {
		return c, fmt.Errorf("read the catalog: %w", err)
	}
	c = c.Merge(&o.Spec)
	return c, c.Validate()
}

// newest is how many releases are packed when none is named.
const newest = 2

func choose(c catalog.Catalog, names []string) ([]v1alpha1.Release, error) {
	if len(names) == 0 {
		if len(c.Releases) > newest {
			return c.Releases[len(c.Releases)-newest:], nil
		}
		return c.Releases, nil
	}
	var out []v1alpha1.Release
	for _, name := range names {
		n := slices.IndexFunc(c.Releases, func(r v1alpha1.Release) bool { return r.Version == name })
		if n < 0 || c.Releases[n].Patch == "" {
			return nil, fmt.Errorf("the catalog has no Istio release %q with a patch version: see `meshlift bundle create --help`, or add it with --catalog", name)
		}
		out = append(out, c.Releases[n])
	}
	return out, nil
}
