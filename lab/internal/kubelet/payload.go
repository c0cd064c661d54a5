package kubelet

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// file is the content of a file in a volume.
type file struct {
	bytes []byte
	mode  os.FileMode
}

// payload is the content of a volume by relative path.
type payload map[string]file

// payloadDir is a directory whose content changes all at once, as in a real kubelet's volumes:
// name -> ..data/name, ..data -> a directory that is replaced.
type payloadDir struct {
	dir     string
	current payload
}

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
)

// write replaces the content unless it is the same.
func (d *payloadDir) write(want payload) error {
	if d.current != nil && equal(d.current, want) {
		return nil
	}
	fresh, err := os.MkdirTemp(d.dir, "..")
	if err != nil {
		return fmt.Errorf("new volume content: %w", err)
	}
	if err := fill(fresh, want); err != nil {
		return errors.Join(fmt.Errorf("new volume content: %w", err), os.RemoveAll(fresh))
	}
	data := filepath.Join(d.dir, dataLink)
	old, err := os.Readlink(data)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("volume: %w", err)
	}
	next := filepath.Join(d.dir, newDataLink)
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("volume: %w", err)
	}
	if err := os.Symlink(filepath.Base(fresh), next); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if err := os.Rename(next, data); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if err := d.link(want); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if old != "" {
		if err := os.RemoveAll(filepath.Join(d.dir, old)); err != nil {
			return fmt.Errorf("remove old volume content: %w", err)
		}
	}
	d.current = want
	return nil
}

func fill(dir string, want payload) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for name, f := range want {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, f.bytes, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(p, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// link makes the names that users of the volume see, and removes those that are no more.
func (d *payloadDir) link(want payload) error {
	visible := map[string]bool{}
	for name := range want {
		first, _, _ := strings.Cut(name, "/")
		visible[first] = true
	}
	for name := range visible {
		err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(d.dir, name))
		if err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") || visible[e.Name()] || e.Type()&os.ModeSymlink == 0 {
			continue
		}
		if err := os.Remove(filepath.Join(d.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func equal(a, b payload) bool {
	if len(a) != len(b) {
		return false
	}
	for name, f := range a {
		other, ok := b[name]
		if !ok || f.mode != other.mode || !bytes.Equal(f.bytes, other.bytes) {
			return false
		}
	}
	return true
}
