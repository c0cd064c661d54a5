package lab

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshlift.dev/meshlift/test/lab/labtest"
)

// keepLogs copies the logs of a lab, those of the istiods and of the agents among them, to .lab/failed, and shows the end of what
// each run of an agent or a hub said: a failure that a second run does not show can be understood by them only.
func keepLogs(t *testing.T, l *labtest.Lab, as string) {
	t.Helper()
	from, to := filepath.Join(l.Root, ".lab", "run", l.Name), filepath.Join(l.Root, ".lab", "failed", as)
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(from, path)
		if err != nil || d.IsDir() || filepath.Ext(path) != ".log" {
			return nil //nolint:nilerr // the lab goes on, so files go while they are listed
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if strings.Contains(name, "asm-controller") || strings.Contains(name, "meshlift-hub") {
			t.Logf("the end of %s:\n%s", name, b[max(0, len(b)-3000):])
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o750); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	t.Logf("the logs of lab %s are in %s (%v)", l.Name, to, err)
}
