package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"meshlift.dev/meshlift/lab/internal/proc"
)

// component is a sub-process of the control plane.
type component struct {
	name     string
	flags    []string
	log      string
	cmd      *exec.Cmd
	stopping chan struct{} // closed before it is asked to end
	done     chan struct{} // closed when it has ended
}

// run starts a component. When it ends without being asked to, c.failed gets the reason.
func (c *Cluster) run(name string, flags []string) error {
	path := filepath.Join(c.cfg.Dir, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	p := &component{name: name, flags: flags, log: path, stopping: make(chan struct{}), done: make(chan struct{})}
	p.cmd = exec.Command(c.cfg.Kube, append([]string{name}, flags...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = log, log, c.cfg.Dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := proc.Start(p.cmd); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped { // in the middle of a restart
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("start %s: the control plane is stopped", name)
	}
	c.parts = append(c.parts, p)
	go c.watch(p)
	return nil
}

// revivals is how often kwok is started again after it has ended by itself. While it starts, two of its goroutines fill a
// map without a lock (easycel's types, in kwok 0.8.0), and now and then the Go runtime ends it for that. It keeps no state.
const revivals = 3

func (c *Cluster) watch(p *component) {
	err := p.cmd.Wait()
	close(p.done)
	select {
	case <-p.stopping:
		return
	default:
	}
	if c.revive(p) {
		return
	}
	select {
	case c.failed <- fmt.Errorf("%s ended by itself (%v); the end of %s:\n%s", p.name, err, p.log, tail(p.log, 10)):
	default:
	}
}

// revive starts a component again that may end by itself, and reports whether it runs.
func (c *Cluster) revive(p *component) bool {
	c.mu.Lock()
	n := slices.Index(c.parts, p)
	if p.name != "kwok" || n < 0 || c.revived >= revivals {
		c.mu.Unlock()
		return false
	}
	c.revived++
	c.parts = slices.Delete(c.parts, n, n+1)
	c.mu.Unlock()
	return c.run(p.name, p.flags) == nil
}

// Stop ends all components at once. Their state is thrown away: there is nothing to save, and an API server takes
// seconds to shut down properly.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, p := range c.parts {
		close(p.stopping)
		_ = p.cmd.Process.Kill()
	}
	for _, p := range c.parts {
		<-p.done
	}
	c.parts = nil
}

// tail returns the last lines of a file.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
