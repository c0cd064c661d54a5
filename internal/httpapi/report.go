package httpapi

import (
	"context"
	"net/http"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/report"
)

// written is an answer that is no JSON.
type written struct {
	ContentType string `header:"Content-Type"`
	Policy      string `header:"Content-Security-Policy"`
	Body        []byte
}

// getReport answers with the record of an upgrade, as "meshlift report" writes it.
func (s *Server) getReport(ctx context.Context, in *struct {
	InCluster
	Format string `query:"format" enum:"html,markdown" default:"html"`
},
) (*written, error) {
	reader, err := s.options.Members.Cached(in.Cluster)
	if err != nil {
		return nil, err
	}
	u, err := pick(ctx, reader)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, problemf(http.StatusNotFound, "cluster %s has had no upgrade", in.Cluster)
	}
	var rollouts v1alpha1.DataPlaneRolloutList
	if err := reader.List(ctx, &rollouts); err != nil {
		return nil, err
	}
	r := report.New(report.Facts{Cluster: in.Cluster, Upgrade: u, Rollouts: rollouts.Items, At: s.options.Clock.Now()})
	if in.Format == "markdown" {
		return &written{ContentType: "text/markdown; charset=utf-8", Body: []byte(r.Markdown())}, nil
	}
	page, err := r.HTML()
	if err != nil {
		return nil, err
	}
	// Its style is in the page, and it needs nothing else.
	return &written{ContentType: "text/html; charset=utf-8", Policy: "default-src 'none'; style-src 'unsafe-inline'", Body: []byte(page)}, nil
}
