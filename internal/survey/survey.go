// Package survey reads what a preflight, or a comparison of istiods, needs to know of a cluster besides its inventory. It only reads, with the credentials that it is
// given, and asks for dry runs, which store nothing. What may not be read is unknown, and costs only the checks that need it.
package survey

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/preflight"
)

// Bounds of a survey.
const (
	// pageSize is how many objects one answer of the API server holds.
	pageSize = 500
	// maxObjects of one kind are read; with more the source is unknown.
	maxObjects = 50000
	// patience is how long one source may take.
	patience = time.Minute
	// parallel sources are read at once.
	parallel = 4
)

// Surveyor reads one cluster. It is safe for concurrent use.
type Surveyor struct {
	client client.Client
}

// New connects with the cluster.
func New(config *rest.Config, scheme *runtime.Scheme) (*Surveyor, error) {
	own := rest.CopyConfig(config)
	own.WarningHandler, own.WarningHandlerWithContext = nil, hearing{}
	c, err := client.New(own, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &Surveyor{client: c}, nil
}

// look is one survey under way.
type look struct {
	*Surveyor
	facts *preflight.Facts
	istio string // namespace

	mu sync.Mutex
}

// Fill reads every source into the facts, which have the inventory and the target already. A source that cannot be read is noted in Unknown.
func (s *Surveyor) Fill(ctx context.Context, f *preflight.Facts) {
	l := &look{Surveyor: s, facts: f, istio: f.Inventory.IstioNamespace}
	l.all(ctx, map[preflight.Source]func(context.Context) error{
		preflight.Nodes: l.nodes, preflight.Quotas: l.quotas, preflight.Templates: l.templates, preflight.Budgets: l.budgets,
		preflight.Webhooks: l.webhooks, preflight.Services: l.services, preflight.Certificates: l.certificates, preflight.CRDs: l.crds,
		preflight.Daemons: l.daemons, preflight.Istiods: l.istiods, preflight.Config: l.config,
	})
	// These ask with what the others found.
	l.all(ctx, map[preflight.Source]func(context.Context) error{preflight.Rehearsal: l.rehearse, preflight.Admission: l.admission})
}

func (l *look) all(ctx context.Context, sources map[preflight.Source]func(context.Context) error) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for source, read := range sources {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			if err := read(ctx); err != nil {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.facts.Unknown[source] = reason(err)
			}
			return nil
		})
	}
	_ = group.Wait() // no source fails the others
}

// reason is why something could not be read, in few words.
func reason(err error) string {
	if apierrors.IsForbidden(err) {
		_, after, ok := strings.Cut(err.Error(), "cannot ")
		if ok {
			return "you may not " + after
		}
	}
	return err.Error()
}

// pages lists a kind page by page; each sees every page once. A list that becomes too long is an error.
func (s *Surveyor) pages(ctx context.Context, list client.ObjectList, each func(), options ...client.ListOption) error {
	read := int64(0)
	for next := ""; ; {
		if err := s.client.List(ctx, list, append([]client.ListOption{client.Limit(pageSize), client.Continue(next)}, options...)...); err != nil {
			return err
		}
		each()
		if next = list.GetContinue(); next == "" {
			return nil
		}
		if read += pageSize; read >= maxObjects {
			return fmt.Errorf("there are more than %d of a kind", maxObjects)
		}
	}
}

// hearing keeps the warnings of the API server for whoever asked, by the context.
type hearing struct{}

type heard struct {
	mu       sync.Mutex
	warnings []string
}

type hearingKey struct{}

// HandleWarningHeaderWithContext is called for each warning of an answer.
func (hearing) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	if h, ok := ctx.Value(hearingKey{}).(*heard); ok && code == 299 && text != "" {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.warnings = append(h.warnings, text)
	}
}
