// Package builder builds everything that the lab runs, from Go modules only: the control plane, two versions of
// Istio with their charts, istioctl and the lab itself.
package builder

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// Builder builds into a .lab directory from the source of the lab.
type Builder struct {
	Dir    layout.Dir
	Source string    // directory of lab/go.mod
	Out    io.Writer // progress
	Force  bool      // build what is up to date too
	Only   []string  // names, or beginnings of names, of what to build; everything when empty
}

// step is one thing to build.
type step struct {
	name string
	// stamp identifies the inputs: an output with the same stamp is up to date.
	stamp func(ctx context.Context) (string, error)
	// outputs are the files that must exist for the step to be up to date.
	outputs []string
	run     func(ctx context.Context, p *progress) error
}

// Build brings everything up to date. It is safe to interrupt: what was finished stays, and nothing is half written.
func (b *Builder) Build(ctx context.Context) error {
	start := time.Now()
	for _, d := range []string{"bin", "istio", "stamps"} {
		if err := os.MkdirAll(filepath.Join(string(b.Dir), d), 0o755); err != nil {
			return fmt.Errorf("create .lab: %w", err)
		}
	}
	steps := b.selected()
	if len(steps) == 0 {
		return fmt.Errorf("nothing to build is called %s", strings.Join(b.Only, ", "))
	}
	built := 0
	for i, s := range steps {
		p := newProgress(b.Out, fmt.Sprintf("[%d/%d] %s", i+1, len(steps), s.name))
		done, err := b.bring(ctx, s, p)
		if err != nil {
			p.end("failed")
			return fmt.Errorf("build %s: %w", s.name, err)
		}
		if done {
			built++
			p.end("built")
		} else {
			p.end("up to date")
		}
	}
	_, err := fmt.Fprintf(b.Out, "%d of %d built in %s into %s\n", built, len(steps), time.Since(start).Round(time.Second), b.Dir)
	return err
}

// selected returns the steps that were asked for.
func (b *Builder) selected() []step {
	var chosen []step
	for _, s := range b.steps() {
		if len(b.Only) == 0 || slices.ContainsFunc(b.Only, func(name string) bool { return strings.HasPrefix(s.name, name) }) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// bring brings one step up to date and says whether there was something to do.
func (b *Builder) bring(ctx context.Context, s step, p *progress) (bool, error) {
	want, err := s.stamp(ctx)
	if err != nil {
		return false, err
	}
	stamp := filepath.Join(string(b.Dir), "stamps", s.name)
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want && !b.Force && layout.Built(s.outputs...) == nil {
		return false, nil
	}
	if err := os.Remove(stamp); err != nil && !os.IsNotExist(err) {
		return false, fmt.Errorf("stamp: %w", err)
	}
	if err := s.run(ctx, p); err != nil {
		return false, err
	}
	return true, writeFile(stamp, []byte(want), 0o644)
}

// writeFile writes a file so that it is seen complete or not at all.
func writeFile(path string, content []byte, mode os.FileMode) error {
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}
