package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// nextVersion is the one after that of the charts in this repository.
const nextVersion = "0.1.1"

var chartVersion = regexp.MustCompile(`(?m)^(version|appVersion): .*$`)

// packaged makes an archive of a chart of the repository under a version, as `helm package` does, and returns the folder with it.
func packaged(root, folder, name, version string) (source release.Source, err error) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	files := tar.NewWriter(zip)
	from := os.DirFS(filepath.Join(root, "charts", name))
	err = fs.WalkDir(from, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(from, at)
		if err != nil {
			return err
		}
		if at == "Chart.yaml" {
			text = chartVersion.ReplaceAll(text, []byte("$1: "+version))
		}
		if err := files.WriteHeader(&tar.Header{Name: path.Join(name, at), Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = files.Write(text)
		return err
	})
	for _, end := range []func() error{files.Close, zip.Close} {
		if err == nil {
			err = end()
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+"-"+version+".tgz"), archive.Bytes(), 0o600)
	}
	return release.Source{Repository: folder, Name: name, Version: version}, err
}

// upgradeAgent upgrades the agent from its packaged chart to the next version, with the values that it has. The function that it
// returns waits until every pod is of that version.
func (c *cluster) upgradeAgent(t *testing.T) (wait func()) {
	t.Helper()
	source, err := packaged(c.Root, t.TempDir(), "meshlift-agent", nextVersion)
	if err != nil {
		t.Fatal(err)
	}
	h, err := helm.New(helm.Options{REST: c.REST})
	if err != nil {
		t.Fatal(err)
	}
	is, err := h.Release(t.Context(), ours, "meshlift")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Apply(t.Context(), release.Spec{Name: is.Name, Namespace: is.Namespace, Source: source, Values: is.Values, Labels: is.Labels}); err != nil {
		t.Fatal(err)
	}
	return func() { c.agentIs(t, nextVersion) }
}

func (c *cluster) agentIs(t *testing.T, version string) {
	t.Helper()
	labtest.Eventually(t, "every pod of the agent is of version "+version, func(ctx context.Context) string {
		d := &appsv1.Deployment{}
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: ours, Name: "asm-controller"}, d); err != nil {
			return err.Error()
		}
		s := d.Status
		if d.Labels["app.kubernetes.io/version"] != version || s.ObservedGeneration < d.Generation || s.UpdatedReplicas < *d.Spec.Replicas || s.AvailableReplicas < *d.Spec.Replicas || s.Replicas > s.UpdatedReplicas {
			return fmt.Sprintf("version %s, %+v", d.Labels["app.kubernetes.io/version"], s)
		}
		return ""
	})
}
