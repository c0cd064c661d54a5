package kubelet

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// logFile is the output of one run of a container, in the format of container runtimes:
// "TIME stdout|stderr F|P TEXT".
type logFile struct {
	path    string
	streams sync.WaitGroup

	mu      sync.Mutex
	file    *os.File
	changed chan struct{} // closed and replaced after each write
	closed  bool
}

// longestLine is where lines are parted.
const longestLine = 16 << 10

func createLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("container log: %w", err)
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("container log: %w", err)
	}
	return &logFile{path: path, file: file, changed: make(chan struct{})}, nil
}

// follow writes what comes out of the pipes until they end.
func (l *logFile) follow(stdout, stderr *os.File) {
	l.streams.Go(func() { l.copy("stdout", stdout) })
	l.streams.Go(func() { l.copy("stderr", stderr) })
}

func (l *logFile) copy(stream string, from *os.File) {
	defer from.Close()
	in := bufio.NewReaderSize(from, longestLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			l.write(stream, line)
		}
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
	}
}

func (l *logFile) write(stream string, line []byte) {
	flag := "P"
	if bytes.HasSuffix(line, []byte("\n")) {
		flag, line = "F", line[:len(line)-1]
	}
	entry := fmt.Appendf(nil, "%s %s %s %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, flag, line)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if _, err := l.file.Write(entry); err != nil {
		return // a full disk must not stop the container
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// close ends the log when everything has been written.
func (l *logFile) close() {
	l.streams.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.file.Close()
	close(l.changed)
}

// wait returns the channel that is closed at the next change, and whether there can be one.
func (l *logFile) wait() (<-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed, !l.closed
}

// discard removes the log's file.
func (l *logFile) discard() {
	if l != nil {
		_ = os.Remove(l.path) // a file that is left behind goes with the pod
	}
}

// tail is the end of the output without the format.
func (l *logFile) tail(size int) []byte {
	var out bytes.Buffer
	file, err := os.Open(l.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	in := bufio.NewReader(file)
	for {
		line, err := in.ReadBytes('\n')
		if _, text, ok := parseEntry(line); ok {
			out.Write(text)
		}
		if err != nil {
			break
		}
	}
	text := out.Bytes()
	return text[max(len(text)-size, 0):]
}

// parseEntry takes the time and the text with its line end, if any, out of a log line.
func parseEntry(line []byte) (time.Time, []byte, bool) {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) != 4 {
		return time.Time{}, nil, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(fields[0]))
	if err != nil {
		return time.Time{}, nil, false
	}
	text := fields[3]
	if string(fields[2]) == "P" {
		text = bytes.TrimSuffix(text, []byte("\n"))
	}
	return at, text, true
}

// logQuery is what a client wants to see of a log.
type logQuery struct {
	follow, timestamps bool
	tail               int64 // lines; negative for all
	since              time.Time
	limit              int64 // bytes; 0 for all
}

// read writes the log to out; flush is called whenever there is nothing more to write for now.
func (l *logFile) read(done <-chan struct{}, q logQuery, out io.Writer, flush func()) error {
	file, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("container log: %w", err)
	}
	defer file.Close()
	if err := seekTail(file, q.tail); err != nil {
		return fmt.Errorf("container log: %w", err)
	}
	if q.limit > 0 {
		out = &limitedWriter{w: out, left: q.limit}
	}
	in := bufio.NewReader(file)
	var line []byte
	for {
		changed, more := l.wait()
		for {
			part, err := in.ReadBytes('\n')
			line = append(line, part...)
			if err != nil {
				break
			}
			if err := writeEntry(out, line, q); err != nil {
				return err
			}
			line = line[:0]
		}
		flush()
		if !q.follow || !more {
			return nil
		}
		select {
		case <-changed:
		case <-done:
			return nil
		}
	}
}

func writeEntry(out io.Writer, line []byte, q logQuery) error {
	at, text, ok := parseEntry(line)
	if !ok || at.Before(q.since) {
		return nil
	}
	if q.timestamps {
		text = append([]byte(at.Format(time.RFC3339Nano)+" "), text...)
	}
	_, err := out.Write(text)
	return err
}

// seekTail moves to the beginning of the last lines.
func seekTail(file *os.File, lines int64) error {
	if lines < 0 {
		return nil
	}
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || lines == 0 {
		return err
	}
	const block = 8 << 10
	buffer := make([]byte, block)
	for at := end; at > 0; {
		size := min(block, at)
		at -= size
		if _, err := file.ReadAt(buffer[:size], at); err != nil {
			return err
		}
		for i := size - 1; i >= 0; i-- {
			if buffer[i] != '\n' || at+i == end-1 {
				continue
			}
			if lines--; lines == 0 {
				_, err := file.Seek(at+i+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// limitedWriter fails with io.EOF after a number of bytes.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	if int64(len(b)) >= l.left {
		n, err := l.w.Write(b[:l.left])
		l.left -= int64(n)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	n, err := l.w.Write(b)
	l.left -= int64(n)
	return n, err
}
