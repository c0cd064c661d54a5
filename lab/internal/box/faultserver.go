package box

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// faultSocket is where the supervisor takes faults; one HTTP request is one fault, and lasts as long.
const faultSocket = "fault.sock"

// serveFaults inflicts faults until ctx ends. A fault also ends with the request that asked for it, so none is left when
// `lab fault` is interrupted or killed.
func (s *supervisor) serveFaults(ctx context.Context) error {
	path, done, err := shortPath(s.run, faultSocket)
	if err != nil {
		return err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for faults: %w", err)
	}
	l.SetUnlinkOnClose(false) // the directory is removed as a whole, and the path was a short-lived one
	if err := os.Chmod(filepath.Join(s.run, faultSocket), 0o600); err != nil {
		return fmt.Errorf("listen for faults: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var f Fault
			err := json.NewDecoder(r.Body).Decode(&f)
			if err == nil {
				_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client goes
				err = s.inflict(r.Context(), f)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			}
		}),
	}
	s.keep(ctx, "server of faults", func(context.Context) error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return nil
}

func (s *supervisor) inflict(ctx context.Context, f Fault) error {
	c, err := s.state.Cluster(f.Cluster)
	if err != nil {
		return err
	}
	v, ok := s.victims.Load(c.Name)
	if !ok {
		return fmt.Errorf("the cluster %s is not up yet", c.Name)
	}
	s.log.Info("fault begins", "cluster", c.Name, "kind", f.Kind, "target", f.Target, "for", f.For)
	err = v.(*victim).do(ctx, f)
	s.log.Info("fault ends", "cluster", c.Name, "kind", f.Kind, "target", f.Target, "error", err)
	return err
}

// Inflict does a fault to the lab and returns when it is over. When ctx ends the fault ends too.
func (s *State) Inflict(ctx context.Context, f Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode the fault: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, done, err := shortPath(s.Dir, faultSocket)
		if err != nil {
			return nil, err
		}
		defer done()
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/fault", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil // the user ended it
		}
		return fmt.Errorf("reach the lab %s: %w", s.Name, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	why, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	return errors.New(strings.TrimSpace(string(why)))
}
