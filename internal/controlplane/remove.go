package controlplane

import (
	"context"
	"fmt"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// RemoveFailed takes an installation back that did not become ready, and says in one sentence why it did not. The CRDs
// and the base chart stay at the new version: the old istiod works with them, and going back could lose stored objects.
//
// It refuses when the revision is not of this upgrade, or when something is routed to it already. It is no error when
// nothing is there.
func (s *Service) RemoveFailed(ctx context.Context, p Plan) (why string, err error) {
	revision := p.To.Revision
	fail := func(err error) (string, error) { return "", fmt.Errorf("remove istiod %s: %w", revision, err) }
	r, err := s.own(ctx, revision, p.Upgrade)
	if err != nil {
		return fail(err)
	}
	used, err := s.routes(ctx, revision)
	if err != nil {
		return fail(err)
	}
	if len(used) > 0 {
		return fail(&Refused{v1alpha1.ReasonInUse, fmt.Sprintf("Revision %s is in use and is not removed: %s; move these back first", revision, strings.Join(used, ", "))})
	}
	d, err := s.deployment(ctx, revision)
	if err != nil {
		return fail(err)
	}
	why = fmt.Sprintf("Deployment %s/%s was not there", s.o.Namespace, object("istiod", revision))
	if d != nil {
		if why, err = s.diagnose(ctx, d); err != nil {
			return fail(err)
		}
	} else if r != nil && r.Status != "deployed" {
		why = fmt.Sprintf("Helm says of release %s: %s", r.Name, sentence(r.Description))
	}
	if r != nil {
		if err := s.o.Releases.Uninstall(ctx, r.Namespace, r.Name); err != nil {
			return fail(err)
		}
	}
	if _, err := s.Leftovers(ctx, revision); err != nil {
		return fail(err)
	}
	return why, nil
}
