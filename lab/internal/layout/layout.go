// Package layout knows where the lab keeps its files:
//
//	.lab/bin/                 kube, lab, istio-<version>-{pilot-discovery,pilot-agent,istioctl}
//	.lab/istio/<version>/     pilot-discovery, pilot-agent (links into bin), charts/
//	.lab/istio/gateway-api/   the standard CRDs of the Gateway API
//	.lab/argo-rollouts/       the manifest of Argo Rollouts
//	.lab/olm/                 the CRDs of the Operator Lifecycle Manager
//	.lab/run/<name>/          state of a running lab
package layout

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Env names the environment variable that overrides the place of the .lab directory.
const Env = "MESHLIFT_LAB_DIR"

// Dir is the absolute path of a .lab directory.
type Dir string

// Find returns the .lab directory: $MESHLIFT_LAB_DIR, else the one of the nearest directory at or above the current
// one that has a .lab directory or is the root of the Meshlift module. It need not exist.
func Find() (Dir, error) {
	if d := os.Getenv(Env); d != "" {
		abs, err := filepath.Abs(d)
		if err != nil {
			return "", fmt.Errorf("%s: %w", Env, err)
		}
		return Dir(abs), nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the lab's directory: %w", err)
	}
	return findFrom(wd)
}

func findFrom(start string) (Dir, error) {
	for d := start; ; d = filepath.Dir(d) {
		lab := filepath.Join(d, ".lab")
		if info, err := os.Stat(lab); err == nil && info.IsDir() {
			return Dir(lab), nil
		}
		if module(d) == "meshlift.dev/meshlift" {
			return Dir(lab), nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no .lab directory and no Meshlift checkout at or above %s: run this in the repository or set %s", start, Env)
		}
	}
}

// Source returns the directory of the lab's Go module (the one with lab/go.mod), searched upward from the current
// directory and then beside the .lab directory.
func (d Dir) Source() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the lab's source: %w", err)
	}
	for at := wd; ; at = filepath.Dir(at) {
		for _, candidate := range []string{at, filepath.Join(at, "lab")} {
			if module(candidate) == "meshlift.dev/meshlift/lab" {
				return candidate, nil
			}
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if s := filepath.Join(filepath.Dir(string(d)), "lab"); module(s) == "meshlift.dev/meshlift/lab" {
		return s, nil
	}
	return "", errors.New("the lab's source (lab/go.mod) is neither at or above the current directory nor beside " + string(d))
}

// module returns the path of the Go module rooted in directory d, or "".
func module(d string) string {
	b, err := os.ReadFile(filepath.Join(d, "go.mod"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(m)
		}
	}
	return ""
}

// Bin returns the path of a built binary.
func (d Dir) Bin(name string) string { return filepath.Join(string(d), "bin", name) }

// Istio returns the directory of one Istio version: pilot-discovery, pilot-agent and charts/.
func (d Dir) Istio(version string) string { return filepath.Join(string(d), "istio", version) }

// GatewayAPI returns the directory of the Gateway API's CRDs.
func (d Dir) GatewayAPI() string { return filepath.Join(string(d), "istio", "gateway-api") }

// ArgoRollouts returns the directory of the manifest of Argo Rollouts.
func (d Dir) ArgoRollouts() string { return filepath.Join(string(d), "argo-rollouts") }

// OLM returns the directory of the CRDs of the Operator Lifecycle Manager.
func (d Dir) OLM() string { return filepath.Join(string(d), "olm") }

// Run returns the state directory of the lab called name.
func (d Dir) Run(name string) string { return filepath.Join(string(d), "run", name) }

// Labs lists the names of the labs that have a state directory.
func (d Dir) Labs() ([]string, error) {
	return d.list("run", func(fs.DirEntry) bool { return true })
}

// IstioVersions lists the versions of Istio that were built, in lexical order.
func (d Dir) IstioVersions() ([]string, error) {
	return d.list("istio", func(e fs.DirEntry) bool {
		_, err := os.Stat(filepath.Join(d.Istio(e.Name()), "charts"))
		return err == nil
	})
}

func (d Dir) list(sub string, keep func(fs.DirEntry) bool) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(d), sub))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", sub, err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && keep(e) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Built reports as an error which of the given files are missing, with the remedy.
func Built(files ...string) error {
	var missing []string
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not built yet: %s (run `make lab`, or `lab build`)", strings.Join(missing, ", "))
	}
	return nil
}
