package container

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// hostDirs are the directories of this machine that every container sees read-only, so that shells
// and tools are at hand for probes and `kubectl exec`.
var hostDirs = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
	"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/alternatives", "/etc/ld.so.cache",
}

// hostRoot is where a host directory is mounted whose place in the container has other mounts
// beneath it; the entries of that place are then links to here.
const hostRoot = "/.host"

// root is a container's root file system while it is being built at a directory of the host.
type root struct {
	dir     string
	targets []string // where other mounts will go, slash-separated, absolute
}

// enterRoot builds the root file system of the spec and makes it this process's root.
func enterRoot(spec Spec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", spec.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", spec.Root, err)
	}
	r := &root{dir: spec.Root}
	for _, m := range spec.Mounts {
		r.targets = append(r.targets, path.Clean(m.Target))
	}
	steps := []func() error{
		r.directories,
		r.hostFiles,
		r.devices,
		r.kernelFiles,
		func() error { return r.texts(spec.Texts) },
		func() error { return r.mounts(spec.Mounts) },
		func() error { return r.workingDir(spec.Dir) },
		func() error {
			if !spec.ReadOnlyRoot {
				return nil
			}
			return readOnly(r.dir, 0)
		},
		func() error { return pivot(r.dir) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *root) directories() error {
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{"etc", 0o755},
		{"root", 0o700},
		{"home", 0o755},
		{"run", 0o755},
		{"var/run", 0o755},
		{"var/lib", 0o755},
		{"var/log", 0o755},
		{"proc", 0o555},
		{"sys", 0o555},
		{"dev", 0o755},
		{"tmp", 0o777 | os.ModeSticky},
		{"var/tmp", 0o777 | os.ModeSticky},
	} {
		p := filepath.Join(r.dir, d.path)
		if err := os.MkdirAll(p, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(p, d.mode); err != nil {
			return err
		}
	}
	return nil
}

// hostFiles shows this machine's programs and certificates in the container.
func (r *root) hostFiles() error {
	var dirs []string
	for _, dir := range hostDirs {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink == 0:
			dirs = append(dirs, dir)
			continue
		}
		if err := r.copyLink(dir, dir); err != nil {
			return err
		}
		r.followLink(dir)
	}
	for _, dir := range dirs {
		if !r.hasTargetBelow(dir) {
			if err := r.bind(dir, dir, true); err != nil {
				return err
			}
			continue
		}
		if err := r.bind(dir, hostRoot+dir, true); err != nil {
			return err
		}
		if err := r.linkEntries(dir); err != nil {
			return err
		}
	}
	return nil
}

// followLink rewrites the targets below a directory that is a link (/bin to usr/bin), so that the
// directory that it leads to makes room for them.
func (r *root) followLink(dir string) {
	to, err := os.Readlink(dir)
	if err != nil {
		return
	}
	if !path.IsAbs(to) {
		to = path.Join(path.Dir(dir), to)
	}
	for i, t := range r.targets {
		if rest, ok := strings.CutPrefix(t, dir+"/"); ok {
			r.targets[i] = path.Join(to, rest)
		}
	}
}

func (r *root) hasTargetBelow(dir string) bool {
	for _, t := range r.targets {
		if strings.HasPrefix(t, dir+"/") {
			return true
		}
	}
	return false
}

func (r *root) isTarget(p string) bool {
	for _, t := range r.targets {
		if t == p {
			return true
		}
	}
	return false
}

// linkEntries fills a directory that has mounts beneath it with links to the host's entries.
func (r *root) linkEntries(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		switch {
		case r.isTarget(p):
		case e.IsDir() && r.hasTargetBelow(p):
			err = r.linkEntries(p)
		case e.Type()&os.ModeSymlink != 0:
			err = r.copyLink(p, p)
		default:
			err = os.Symlink(hostRoot+p, filepath.Join(r.dir, p))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *root) copyLink(from, to string) error {
	link, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(link, filepath.Join(r.dir, to))
}

func (r *root) devices() error {
	dev := filepath.Join(r.dir, "dev")
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"} {
		if _, err := os.Stat("/dev/" + name); err != nil {
			continue
		}
		if err := r.bind("/dev/"+name, "/dev/"+name, false); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	shm := filepath.Join(dev, "shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return err
	}
	return os.Chmod(shm, 0o777|os.ModeSticky)
}

// kernelFiles mounts /proc of the container's own PID namespace; where the machine forbids that
// (masked /proc in a user namespace) the container sees the lab's.
func (r *root) kernelFiles() error {
	err := unix.Mount("proc", filepath.Join(r.dir, "proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil {
		err = r.bind("/proc", "/proc", false)
	}
	if err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return r.bind("/sys", "/sys", true)
}

func (r *root) texts(texts map[string]string) error {
	for name, text := range texts {
		if r.isTarget(path.Clean(name)) {
			continue
		}
		p, err := securejoin.SecureJoin(r.dir, name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mounts makes the spec's bind mounts, outer directories first.
func (r *root) mounts(mounts []Mount) error {
	depth := func(m Mount) int { return strings.Count(path.Clean(m.Target), "/") }
	sort.SliceStable(mounts, func(i, j int) bool { return depth(mounts[i]) < depth(mounts[j]) })
	for _, m := range mounts {
		if err := r.bind(m.Source, m.Target, false); err != nil {
			return err
		}
	}
	// Only now: a mount point inside another mount has to be made in it first.
	for _, m := range mounts {
		if !m.ReadOnly {
			continue
		}
		target, err := securejoin.SecureJoin(r.dir, m.Target)
		if err == nil {
			err = readOnly(target, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *root) workingDir(dir string) error {
	p, err := securejoin.SecureJoin(r.dir, dir)
	if err != nil {
		return err
	}
	return os.MkdirAll(p, 0o755)
}

// bind mounts a file or directory of the host, with all that is mounted below it.
func (r *root) bind(source, target string, ro bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	p, err := securejoin.SecureJoin(r.dir, target)
	if err != nil {
		return err
	}
	if err := mountPoint(p, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(source, p, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	if ro {
		return readOnly(p, unix.AT_RECURSIVE)
	}
	return nil
}

func mountPoint(p string, dir bool) error {
	if dir {
		return os.MkdirAll(p, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// readOnly adds the read-only flag to a mount and leaves its other flags, which an unprivileged
// user may not change, as they are.
func readOnly(p string, flags uint) error {
	err := unix.MountSetattr(unix.AT_FDCWD, p, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err != nil {
		return fmt.Errorf("make %s read-only: %w", p, err)
	}
	return nil
}

func pivot(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the machine's file system: %w", err)
	}
	return os.Chdir("/")
}
