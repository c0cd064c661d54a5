package hub

import (
	"fmt"
	"io/fs"

	"meshlift.dev/meshlift/charts"
	domain "meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/controller/component"
	"meshlift.dev/meshlift/internal/member"
)

// components finds out what members have besides Istio, and upgrades what was asked for.
func components(p part) error {
	agent, err := charts.Agent()
	if err != nil {
		return err
	}
	r := component.New(p.Manager.GetClient(), p.Manager.GetAPIReader(), p.Links, map[string]fs.FS{domain.AgentChart: agent})
	if err := r.SetupWithManager(p.Manager, p.Links.Changes(member.Request)); err != nil {
		return fmt.Errorf("register the controller of components: %w", err)
	}
	return nil
}
