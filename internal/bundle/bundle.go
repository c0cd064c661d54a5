// Package bundle packs everything that a site without internet needs into one file, and reads it again: Helm charts, the catalog
// that names them, and the list of images to mirror.
//
// The file is a gzipped tar: "bundle.yaml" comes first and names every other file with its SHA-256, so that a file that was cut
// off or changed on its way is refused whole. The same content makes the same file, byte by byte.
package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// Format of the file; a reader refuses others.
const Format = 1

// Names in the file.
const (
	indexName   = "bundle.yaml"
	catalogName = "catalog.yaml"
	imagesName  = "images.txt"
	chartsDir   = "charts/"
)

// Limits of what is read, in bytes: many times what all charts of Istio have.
const (
	maxFile = 64 << 20
	maxAll  = 1 << 30
)

// Bundle is the content of a file.
type Bundle struct {
	// Meshlift is the version that made it.
	Meshlift string
	// Catalog in effect where it was made; its chart repository is of no use elsewhere.
	Catalog v1alpha1.CatalogSpec
	// Charts are archives by file name: "istiod-1.31.0.tgz".
	Charts map[string][]byte
	// Images are references to mirror, sorted.
	Images []string
}

type index struct {
	Format   int               `json:"format"`
	Meshlift string            `json:"meshlift"`
	SHA256   map[string]string `json:"sha256"`
}

// Write writes the file.
func Write(w io.Writer, b Bundle) error {
	catalog, err := yaml.Marshal(b.Catalog)
	if err != nil {
		return fmt.Errorf("write the catalog of the bundle: %w", err)
	}
	files := map[string][]byte{catalogName: catalog, imagesName: []byte(strings.Join(append(slices.Clone(b.Images), ""), "\n"))}
	for name, data := range b.Charts {
		if name == "" || strings.ContainsAny(name, "/\\") || len(data) > maxFile {
			return fmt.Errorf("write the bundle: %q is no name of a chart archive, or it is larger than %d MiB", name, maxFile>>20)
		}
		files[chartsDir+name] = data
	}
	i := index{Format: Format, Meshlift: b.Meshlift, SHA256: map[string]string{}}
	for name, data := range files {
		i.SHA256[name] = sum(data)
	}
	head, err := yaml.Marshal(i)
	if err != nil {
		return fmt.Errorf("write the index of the bundle: %w", err)
	}
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	put := func(name string, data []byte) error {
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), Format: tar.FormatUSTAR}); err != nil {
			return fmt.Errorf("write %s of the bundle: %w", name, err)
		}
		if _, err := archive.Write(data); err != nil {
			return fmt.Errorf("write %s of the bundle: %w", name, err)
		}
		return nil
	}
	if err := put(indexName, head); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := put(name, files[name]); err != nil {
			return err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// Read reads a file and checks every part of it. Nothing of a file that is not whole is returned.
func Read(r io.Reader) (Bundle, error) {
	fail := func(format string, args ...any) (Bundle, error) {
		return Bundle{}, fmt.Errorf("this is no whole bundle of meshlift: %w", fmt.Errorf(format, args...))
	}
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return fail("%w", err)
	}
	files := map[string][]byte{}
	total := int64(0)
	archive := tar.NewReader(io.LimitReader(unzipped, maxAll+1))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fail("%w", err)
		}
		total += h.Size
		if _, twice := files[h.Name]; twice || h.Typeflag != tar.TypeReg || h.Size > maxFile || total > maxAll {
			return fail("%q is there twice, is no file, or is too large", h.Name)
		}
		var data bytes.Buffer
		if _, err := io.Copy(&data, io.LimitReader(archive, maxFile+1)); err != nil {
			return fail("read %s: %w", h.Name, err)
		}
		files[h.Name] = data.Bytes()
	}
	// The end of the archive is not the end of the file: the checksum of the compression comes after it.
	if n, err := io.Copy(io.Discard, io.LimitReader(unzipped, maxFile)); err != nil || n == maxFile {
		return fail("it does not end where it should: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	var i index
	if err := yaml.UnmarshalStrict(files[indexName], &i); err != nil || files[indexName] == nil {
		return fail("it has no readable %s", indexName)
	}
	if i.Format != Format {
		return Bundle{}, fmt.Errorf("the bundle has format %d, and this meshlift reads format %d: use the meshlift that made it (%s)", i.Format, Format, i.Meshlift)
	}
	delete(files, indexName)
	return content(i, files)
}

// content checks the files against the index and sorts them.
func content(i index, files map[string][]byte) (Bundle, error) {
	out := Bundle{Meshlift: i.Meshlift, Charts: map[string][]byte{}}
	if len(files) != len(i.SHA256) {
		return Bundle{}, fmt.Errorf("the bundle holds %d files and its index names %d: copy it again", len(files), len(i.SHA256))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data := files[name]
		if sum(data) != i.SHA256[name] {
			return Bundle{}, fmt.Errorf("%s of the bundle is not what the index says it was: copy it again", name)
		}
		chart, isChart := strings.CutPrefix(name, chartsDir)
		switch {
		case isChart && chart != "" && !strings.ContainsAny(chart, "/\\"):
			out.Charts[chart] = data
		case name == catalogName:
			if err := yaml.UnmarshalStrict(data, &out.Catalog); err != nil {
				return Bundle{}, fmt.Errorf("read the catalog of the bundle: %w", err)
			}
		case name == imagesName:
			out.Images = strings.Fields(string(data))
		default:
			return Bundle{}, fmt.Errorf("the bundle holds %q, which does not belong there", name)
		}
	}
	return out, nil
}
