// Package traffic reports what the lab's gRPC clients have counted: live ones and those whose pods have ended. The
// counts are read from the files that the clients keep (package echo), which outlive their pods.
package traffic

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"meshlift.dev/meshlift/lab/internal/echo"
)

// HostPath is the hostPath volume into which client pods write their counts; mount it at the directory named by
// [echo.StatsDirEnv].
const HostPath = "/var/lib/lab/traffic"

// lostAfter is how old the counts of a client that said no good-bye may be: a live one writes every second.
const lostAfter = 10 * time.Second

// State of a client.
type State string

// States of a client.
const (
	Running State = "running"
	Ended   State = "ended" // after a good-bye: the counts are complete
	Lost    State = "lost"  // killed: calls of its last second may be missing
)

// Client is what one client pod has counted.
type Client struct {
	echo.Stats
	Cluster  string  `json:"cluster"`
	State    State   `json:"state"`
	MTLS     float64 `json:"mtls"`     // share of the good calls with mutual TLS, 0..1
	Duration string  `json:"duration"` // from its start to its last count
}

// Total sums all clients.
type Total struct {
	Clients   int              `json:"clients"`
	Calls     int64            `json:"calls"`
	OK        int64            `json:"ok"`
	Failed    int64            `json:"failed"`
	MTLS      float64          `json:"mtls"`
	Since     time.Time        `json:"since,omitzero"`
	Reasons   map[string]int64 `json:"reasons,omitempty"`
	Versions  map[string]int64 `json:"versions,omitempty"`
	Revisions map[string]int64 `json:"revisions,omitempty"`
}

// Report is the whole picture at one moment.
type Report struct {
	Time    time.Time `json:"time"`
	Clients []Client  `json:"clients"` // by cluster and start
	Total   Total     `json:"total"`
}

// Filter selects clients; the zero value selects all.
type Filter struct {
	Cluster   string
	Namespace string
	Name      string // prefix of the pod's name, or the label app
}

func (f Filter) accepts(cluster string, s echo.Stats) bool {
	return (f.Cluster == "" || cluster == f.Cluster) &&
		(f.Name == "" || s.App == f.Name || strings.HasPrefix(s.Pod, f.Name)) &&
		(f.Namespace == "" || s.Namespace == f.Namespace)
}

// Directories finds where the clients of a lab keep their counts, by cluster: run is the lab's state directory.
func Directories(run string) (map[string]string, error) {
	clusters, err := filepath.Glob(filepath.Join(run, "*", "kubelet"))
	if err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	dirs := map[string]string{}
	for _, kubelet := range clusters {
		dirs[filepath.Base(filepath.Dir(kubelet))] = filepath.Join(kubelet, "hostpath", HostPath)
	}
	return dirs, nil
}

// Collect reads the counts of all clients from a directory for each cluster. A directory that does not exist has no
// clients, yet.
func Collect(dirs map[string]string, filter Filter) (Report, error) {
	return collect(dirs, filter, time.Now())
}

func collect(dirs map[string]string, filter Filter, now time.Time) (Report, error) {
	report := Report{Time: now, Clients: []Client{}}
	for cluster, dir := range dirs {
		all, err := read(dir)
		if err != nil {
			return report, fmt.Errorf("traffic of %s: %w", cluster, err)
		}
		for _, s := range all {
			if filter.accepts(cluster, s) {
				report.Clients = append(report.Clients, newClient(cluster, s, now))
			}
		}
	}
	sort.Slice(report.Clients, func(i, j int) bool {
		a, b := &report.Clients[i], &report.Clients[j]
		if a.Cluster != b.Cluster {
			return a.Cluster < b.Cluster
		}
		return a.Started.Before(b.Started)
	})
	report.Total = sum(report.Clients)
	return report, nil
}

// read reads all files of a directory.
func read(dir string) ([]echo.Stats, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []echo.Stats
	for _, path := range paths {
		s, err := echo.ReadStats(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func newClient(cluster string, s echo.Stats, now time.Time) Client {
	c := Client{Stats: s, Cluster: cluster, State: Running, Duration: s.Updated.Sub(s.Started).Round(time.Second).String()}
	switch {
	case s.Ended:
		c.State = Ended
	case now.Sub(s.Updated) > lostAfter:
		c.State = Lost
	}
	if s.OK > 0 {
		c.MTLS = float64(s.Auth["tls"]) / float64(s.OK)
	}
	return c
}

func sum(clients []Client) Total {
	t := Total{Clients: len(clients), Reasons: map[string]int64{}, Versions: map[string]int64{}, Revisions: map[string]int64{}}
	var tls int64
	for _, c := range clients {
		t.Calls += c.Calls
		t.OK += c.OK
		t.Failed += c.Failed
		tls += c.Auth["tls"]
		if t.Since.IsZero() || c.Started.Before(t.Since) {
			t.Since = c.Started
		}
		for _, pair := range []struct{ to, from map[string]int64 }{
			{t.Reasons, c.Reasons}, {t.Versions, c.Versions}, {t.Revisions, c.Revisions},
		} {
			for k, n := range pair.from {
				pair.to[k] += n
			}
		}
	}
	if t.OK > 0 {
		t.MTLS = float64(tls) / float64(t.OK)
	}
	return t
}

// Table writes the report for people: a line per client, a total, and the reasons of failed calls.
func (r Report) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CLUSTER\tCLIENT\tSTATE\tREVISION\tCALLS\tOK\tFAILED\tMTLS\tSERVED BY REVISION\tFOR")
	for _, c := range r.Clients {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", c.Cluster, c.Namespace+"/"+c.Pod, c.State, dash(c.Revision),
			c.Calls, c.OK, c.Failed, percent(c.MTLS), dash(list(c.Revisions)), c.Duration)
	}
	fmt.Fprintf(t, "TOTAL\t\t\t\t%d\t%d\t%d\t%s\t%s\t\n", r.Total.Calls, r.Total.OK, r.Total.Failed, percent(r.Total.MTLS),
		dash(list(r.Total.Revisions)))
	if err := t.Flush(); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	for _, reason := range keys(r.Total.Reasons) {
		if _, err := fmt.Fprintf(w, "failed %d × %s\n", r.Total.Reasons[reason], reason); err != nil {
			return fmt.Errorf("traffic: %w", err)
		}
	}
	return nil
}

func percent(share float64) string { return fmt.Sprintf("%.0f%%", 100*share) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// list writes counts as key:n, by key.
func list(counts map[string]int64) string {
	parts := keys(counts)
	for i, k := range parts {
		parts[i] = fmt.Sprintf("%s:%d", k, counts[k])
	}
	return strings.Join(parts, " ")
}

func keys(counts map[string]int64) []string {
	list := make([]string, 0, len(counts))
	for k := range counts {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}
