package hub

import (
	"meshlift.dev/meshlift/internal/controller/mesh"
	"meshlift.dev/meshlift/internal/controller/meshupgrade"
	"meshlift.dev/meshlift/internal/hubwebhook"
)

// meshes keeps Meshes and MeshUpgrades, and serves the admission of the kinds of the hub.
func meshes(p part) error {
	mgr := p.Manager
	r := &mesh.Reconciler{Options: mesh.Options{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Members: p.Links, Recorder: mgr.GetEventRecorder("meshlift-hub"), Clock: p.Config.Clock,
	}}
	if err := r.SetupWithManager(mgr, p.Links.Changes); err != nil {
		return err
	}
	u := &meshupgrade.Reconciler{Options: meshupgrade.Options{
		Client: mgr.GetClient(), Members: p.Links, Recorder: mgr.GetEventRecorder("meshlift-hub"), Clock: p.Config.Clock,
	}}
	if err := u.SetupWithManager(mgr, p.Links.Changes); err != nil {
		return err
	}
	if p.Config.WebhookPort == 0 {
		return nil
	}
	return hubwebhook.Register(mgr, hubwebhook.Options{Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("meshlift-hub"), Clock: p.Config.Clock})
}
