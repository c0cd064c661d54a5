package bundle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/bundle"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
)

// fieldManager owns the Catalog that was loaded.
const fieldManager = "meshlift-bundle"

func open(file string) (b bundle.Bundle, err error) {
	f, err := os.Open(file)
	if err != nil {
		return b, fmt.Errorf("open the bundle: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return bundle.Read(f)
}

func newInspect(e *env.Env) *cobra.Command {
	images := false
	cmd := &cobra.Command{
		Use: "inspect FILE", Short: "Check a bundle and list what it holds", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			b, err := open(args[0])
			if err != nil {
				return err
			}
			if images {
				_, err := fmt.Fprintln(e.Out, strings.Join(b.Images, "\n"))
				return err
			}
			_, err = fmt.Fprintf(e.Out, "Made by meshlift %s. It is whole.\n\nCharts:\n  %s\n\nImages to mirror:\n  %s\n", b.Meshlift,
				strings.Join(slices.Sorted(maps.Keys(b.Charts)), "\n  "), strings.Join(b.Images, "\n  "))
			return err
		},
	}
	cmd.Flags().BoolVar(&images, "images", false, "Print the images only, one in a line, for a tool that mirrors them")
	return cmd
}

type load struct {
	env     *env.Env
	connect Connect
	to      string
	hub     string
	url     string
	apply   bool
	plain   bool
}

func newLoad(e *env.Env, connect Connect) *cobra.Command {
	o := &load{env: e, connect: connect}
	cmd := &cobra.Command{
		Use: "load FILE", Short: "Put the charts of a bundle where clusters find them, and name it in the Catalog", Args: cobra.ExactArgs(1),
		Long: `Put the charts of a bundle into an OCI registry, or into a directory that a web server of the site serves, and print the Catalog that
names it as the only source; --apply applies that Catalog to the cluster. On the hub it reaches all member clusters.

The images are not in the file: mirror those that "bundle inspect --images" lists.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			return o.run(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "OCI registry (oci://registry.example.com/charts) or directory for the charts")
	f.StringVar(&o.url, "url", "", "Address under which clusters reach the directory (https://charts.example.com)")
	f.StringVar(&o.hub, "image-hub", "", "Registry of the mirrored Istio images (registry.example.com/istio)")
	f.BoolVar(&o.apply, "apply", false, "Apply the Catalog to the cluster")
	f.BoolVar(&o.plain, "plain-http", false, "Speak http with the OCI registry")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

func (o *load) run(ctx context.Context, file string) error {
	registry := strings.HasPrefix(o.to, "oci://")
	if registry == (o.url != "") {
		return exit.Usagef("give --url with a directory, and only with a directory: clusters reach an OCI registry under its own address")
	}
	b, err := open(file)
	if err != nil {
		return err
	}
	source := o.to
	if registry {
		for _, name := range slices.Sorted(maps.Keys(b.Charts)) {
			if err := o.connect(o.plain).Push(ctx, o.to, b.Charts[name]); err != nil {
				return err
			}
			_, _ = fmt.Fprintf(o.env.ErrOut, "pushed %s\n", name)
		}
	} else {
		if err := o.connect(o.plain).Write(filepath.Clean(o.to), b.Charts); err != nil {
			return err
		}
		source = o.url
	}
	c, err := object(b.Catalog, source, o.hub)
	if err != nil {
		return err
	}
	if !o.apply {
		text, err := yaml.Marshal(c.Object)
		if err != nil {
			return fmt.Errorf("write the Catalog: %w", err)
		}
		_, err = o.env.Out.Write(text)
		return err
	}
	k, err := o.env.Client()
	if err != nil {
		return err
	}
	if err := k.Apply(ctx, client.ApplyConfigurationFromUnstructured(c), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return o.env.API(fmt.Errorf("apply the Catalog: %w", err))
	}
	_, err = fmt.Fprintf(o.env.Out, "Catalog %q names %s as the source of all charts.\n", v1alpha1.SingletonName, source)
	return err
}

// object is the Catalog with the site's own sources.
func object(spec v1alpha1.CatalogSpec, source, hub string) (*unstructured.Unstructured, error) {
	spec.ChartRepository = source
	if hub != "" {
		spec.ImageHub = hub
	}
	for n := range spec.Components {
		if h := spec.Components[n].Helm; h != nil {
			h.Repository = "" // that of the catalog
		}
	}
	c := &v1alpha1.Catalog{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Catalog"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SingletonName}, Spec: spec,
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
	if err != nil {
		return nil, fmt.Errorf("write the Catalog: %w", err)
	}
	unstructured.RemoveNestedField(content, "metadata", "creationTimestamp")
	return &unstructured.Unstructured{Object: content}, nil
}
