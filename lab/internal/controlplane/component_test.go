package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKwokIsStartedAgainAFewTimesAndTheOthersNever(t *testing.T) {
	for name, starts := range map[string]int{"kwok": 1 + revivals, "etcd": 1} {
		dir := t.TempDir()
		kube := filepath.Join(dir, "kube")
		if err := os.WriteFile(kube, []byte("#!/bin/sh\necho started \"$1\"\nexit 2\n"), 0o700); err != nil { // #nosec G306 -- to be run
			t.Fatal(err)
		}
		c := &Cluster{cfg: Config{Name: "main", Dir: dir, Kube: kube}, failed: make(chan error, 1)}
		if err := c.run(name, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-c.failed; !strings.Contains(err.Error(), name+" ended by itself") {
			t.Errorf("%s: %v", name, err)
		}
		log, err := os.ReadFile(filepath.Join(dir, name+".log"))
		if n := strings.Count(string(log), "started "+name); err != nil || n != starts {
			t.Errorf("%s was started %d times, want %d (%v)", name, n, starts, err)
		}
		c.Stop()
	}
}
