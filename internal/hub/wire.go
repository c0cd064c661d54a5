package hub

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"meshlift.dev/meshlift/internal/certs"
	"meshlift.dev/meshlift/internal/controller/membercluster"
	"meshlift.dev/meshlift/internal/member"
)

// part is what each part of the hub is wired with.
type part struct {
	Manager manager.Manager
	Config  Config
	// Links with the clusters, kept in every replica.
	Links *member.Links
	// Certificates of the admission webhooks; nil when none are served.
	Certificates *certs.Keeper
}

// wire registers the parts of the hub: one function for each, in a file of its own.
func wire(ctx context.Context, p part) error {
	for _, register := range []func(part) error{
		members,
		components,
		meshes,
	} {
		if err := register(p); err != nil {
			return err
		}
	}
	return serveAPI(ctx, p)
}

// members keeps the connections, and the MemberClusters true.
func members(p part) error {
	keeper := &member.Keeper{Client: p.Manager.GetClient(), Namespace: p.Config.Namespace, Links: p.Links}
	if err := keeper.SetupWithManager(p.Manager); err != nil {
		return fmt.Errorf("register the keeper of the links: %w", err)
	}
	r := &membercluster.Reconciler{Client: p.Manager.GetClient(), Links: p.Links, Recorder: p.Manager.GetEventRecorder("meshlift-hub"), Clock: p.Config.Clock}
	if err := r.SetupWithManager(p.Manager); err != nil {
		return fmt.Errorf("register the MemberCluster controller: %w", err)
	}
	return nil
}
