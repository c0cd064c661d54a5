package builder

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/term"
)

// Intervals between two reports of one step: on a terminal the line is redrawn, elsewhere lines are added.
const (
	redrawInterval = 500 * time.Millisecond
	lineInterval   = 30 * time.Second
)

// progress reports on one step: its name, the packages compiled so far, the seconds.
type progress struct {
	out      io.Writer
	title    string
	start    time.Time
	terminal bool
	packages atomic.Int64
	stop     chan struct{}
	stopped  sync.WaitGroup
}

func newProgress(out io.Writer, title string) *progress {
	p := &progress{out: out, title: title, start: time.Now(), stop: make(chan struct{})}
	interval := lineInterval
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, interval = true, redrawInterval
	}
	p.stopped.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.print("…")
			case <-p.stop:
				return
			}
		}
	})
	return p
}

func (p *progress) add(packages int) { p.packages.Add(int64(packages)) }

func (p *progress) end(how string) {
	close(p.stop)
	p.stopped.Wait()
	p.print(how)
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}

func (p *progress) print(state string) {
	line := fmt.Sprintf("%-42s %s", p.title, state)
	if n := p.packages.Load(); n > 0 {
		line += fmt.Sprintf(", %d packages", n)
	}
	if d := time.Since(p.start); d >= time.Second {
		line += fmt.Sprintf(", %d s", int(d.Seconds()))
	}
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}
