// Command image makes the image of Meshlift as an OCI layout from binaries, without a base and without a network: one layer with
// /app/asm-controller, which "kubectl exec deploy/asm-controller -- /app/asm-controller …" relies on. The same binaries make the same
// image, byte by byte.
//
// ko builds such images too, but puts the binary at /ko-app/NAME (https://ko.build/features/static-assets/), which is why it is
// not used.
//
//	image -o DIR [-version V] amd64=PATH arm64=PATH
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// binary is where the agent's Deployment and the users' command line expect it.
const binary = "app/asm-controller"

func main() {
	out, version := flag.String("o", "", "directory of the OCI layout; it is replaced"), flag.String("version", "dev", "version of the image")
	flag.Parse()
	if err := run(*out, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(out, version string, platforms []string) error {
	if out == "" || len(platforms) == 0 {
		return errors.New("give -o DIR and at least one ARCHITECTURE=BINARY")
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		arch, path, ok := strings.Cut(p, "=")
		if !ok {
			return fmt.Errorf("%q: write ARCHITECTURE=BINARY", p)
		}
		image, err := build(path, arch, version)
		if err != nil {
			return fmt.Errorf("image for %s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("replace the old layout: %w", err)
	}
	if _, err := layout.Write(out, index); err != nil {
		return fmt.Errorf("write the layout: %w", err)
	}
	digest, err := index.Digest()
	if err != nil {
		return fmt.Errorf("digest the image: %w", err)
	}
	fmt.Printf("%s: %s\n", out, digest)
	return nil
}

func build(path, arch, version string) (v1.Image, error) {
	files, err := files(path)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("make the layer: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.AppendLayers(image, layer)
	if err != nil {
		return nil, fmt.Errorf("add the layer: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Entrypoint = []string{"/" + binary}
	config.Config.User = "65532:65532"
	config.Config.Env = []string{"PATH=/app"}
	config.Config.Labels = map[string]string{"org.opencontainers.image.title": "meshlift", "org.opencontainers.image.version": version}
	return mutate.ConfigFile(image, config)
}

// files is the file system of the image.
func files(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the binary: %w", err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "app/", Mode: 0o755},
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeReg, Name: binary, Mode: 0o755, Size: int64(len(data))},
		{Typeflag: tar.TypeSymlink, Name: "app/meshlift", Linkname: "asm-controller", Mode: 0o777},
	} {
		if err := w.WriteHeader(&h); err != nil {
			return nil, fmt.Errorf("write %s: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(data); err != nil {
				return nil, fmt.Errorf("write %s: %w", h.Name, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("write the layer: %w", err)
	}
	return out.Bytes(), nil
}
