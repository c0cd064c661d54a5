// Package env is what every command gets from the outside: streams, clients, the clock, the name it was called by. Tests
// replace each of them.
package env

import (
	"context"
	"io"
	"os/user"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/view"
	"meshlift.dev/meshlift/internal/xdsdiff"
)

// Env is the outside world of a command.
type Env struct {
	genericiooptions.IOStreams
	// Program is how the user calls the command: "meshlift", "kubectl meshlift", or the whole kubectl exec line.
	Program string
	// Version of this build.
	Version string
	// Connect returns a client of the cluster that the flags name.
	Connect func() (client.WithWatch, error)
	// Cluster is the name of the cluster for the eye.
	Cluster func() string
	// Inventory reads the mesh live, with the credentials of the user.
	Inventory func(ctx context.Context, c client.Client, istioNamespace string) (*mesh.Inventory, error)
	// Survey fills in what a preflight needs to know besides the inventory, with the credentials of the user. What cannot be read is noted in
	// the facts.
	Survey func(ctx context.Context, f *preflight.Facts) error
	// DataPlanes reads the proxies of the mesh and what istiods tell them apart by, with the credentials of the user.
	DataPlanes func(ctx context.Context, inv *mesh.Inventory) (*xdsdiff.Facts, error)
	// Istiods connects with the istiods of the namespace, to ask them what they send to proxies.
	Istiods func(istioNamespace string) (Istiods, error)
	// Kubernetes returns the version of the API server, for example "v1.37.2".
	Kubernetes func() (string, error)
	Now        func() time.Time
	// Resync is how often an object is read again although a watch runs.
	Resync time.Duration
	// Terminal describes what the streams are.
	Terminal Terminal
}

// Istiods answer what they send to a proxy. It is safe for concurrent use.
type Istiods interface {
	// Ask asks a ready replica of the revision, in the place of the proxy, which says that it is of that version.
	Ask(ctx context.Context, rev mesh.Revision, p xdsdiff.Proxy, version string) (xdsdiff.Answer, error)
	Close()
}

// Terminal says what the streams are connected to.
type Terminal struct {
	// In and Out are true when a person sits there.
	In, Out bool
	// Dumb terminals understand no cursor movement.
	Dumb bool
	// Color is false for NO_COLOR, for dumb terminals and when the output is not a terminal.
	Color bool
	// Width returns the present width in cells; 0 when it is unknown or the output is not a terminal.
	Width func() int
	// Environ is what the terminal interface needs to know, in the form "KEY=value".
	Environ []string
}

// Interactive tells whether the terminal interface can be used.
func (t Terminal) Interactive() bool { return t.In && t.Out && !t.Dumb }

// CanAsk tells whether somebody can be asked a question.
func (t Terminal) CanAsk() bool { return t.In }

// View returns how to show something.
func (t Terminal) View() view.Options {
	o := view.Options{Theme: view.Theme{Color: t.Color}}
	if t.Width != nil {
		o.Width = t.Width()
	}
	return o
}

// Scheme knows the kinds that the command line reads and writes.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	utilruntime.Must(hub.AddToScheme(s))
	return s
}

// Client connects, or says why not.
func (e *Env) Client() (client.WithWatch, error) {
	c, err := e.Connect()
	if err != nil {
		return nil, e.API(err)
	}
	return c, nil
}

// API turns an error of the API server into one for people.
func (e *Env) API(err error) error { return exit.FromAPI(e.Program, err) }

// User is who runs the command: the name that the API server knows, else that of the operating system.
func (e *Env) User(ctx context.Context, c client.Client) string {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err == nil && review.Status.UserInfo.Username != "" {
		return review.Status.UserInfo.Username
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

// ProgramName is how a command that was called by that path is to be called again. In a pod that is the whole kubectl exec
// line; inCluster is the namespace of that pod, "" elsewhere.
func ProgramName(argv0, inCluster string) string {
	base := argv0[strings.LastIndexByte(argv0, '/')+1:]
	base = strings.TrimSuffix(base, ".exe")
	switch {
	case strings.HasPrefix(base, "kubectl-"):
		return "kubectl " + strings.ReplaceAll(strings.TrimPrefix(base, "kubectl-"), "_", "-")
	case base == "asm-controller" && inCluster != "":
		return "kubectl -n " + inCluster + " exec -it deploy/asm-controller -- " + argv0
	case base == "":
		return "meshlift"
	}
	return base
}

// Confirm asks a question that is answered with y or n. It reads one line and takes everything but y for n.
func (e *Env) Confirm(question string) (bool, error) {
	if _, err := io.WriteString(e.ErrOut, question+" [y/N] "); err != nil {
		return false, err
	}
	answer, err := readLine(e.In)
	if err != nil && err != io.EOF {
		return false, err
	}
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// readLine reads byte by byte, so that nothing of what follows is lost.
func readLine(r io.Reader) (string, error) {
	var line []byte
	b := make([]byte, 1)
	for {
		n, err := r.Read(b)
		if n == 1 {
			if b[0] == '\n' || b[0] == '\r' {
				return string(line), nil
			}
			line = append(line, b[0])
		}
		if err != nil {
			return string(line), err
		}
	}
}
