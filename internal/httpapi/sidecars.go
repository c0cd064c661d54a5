package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

// Sidecars is the configuration of the sidecars of a mesh.
type Sidecars struct {
	Configuration SidecarConfiguration `json:"configuration"`
	Configured    bool                 `json:"configured" doc:"It has reached the istiod of every cluster."`
	Message       string               `json:"message,omitempty"`
	Change        Availability         `json:"change"`
}

// SidecarConfiguration is spec.sidecars of a Mesh as its CRD describes it.
type SidecarConfiguration struct{ v1alpha1.SidecarConfiguration }

// Schema implements huma.SchemaProvider: the CRD checks the content, with the same sentences as for kubectl.
func (SidecarConfiguration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true, Description: "spec.sidecars of a Mesh: resources, concurrency, logLevel, holdApplicationUntilProxyStarts, terminationDrainDuration, traffic, namespaces."}
}

// MarshalJSON implements json.Marshaler.
func (c SidecarConfiguration) MarshalJSON() ([]byte, error) {
	return json.Marshal(c.SidecarConfiguration)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *SidecarConfiguration) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &c.SidecarConfiguration)
}

type InMesh struct {
	Mesh string `path:"mesh"`
}

func sidecars(s *Server) {
	add(s, http.MethodGet, "/meshes/{mesh}/sidecars", "getSidecars", "The configuration of the sidecars of a mesh", need{theMesh, "get", ""}, s.getSidecars)
	add(s, http.MethodPut, "/meshes/{mesh}/sidecars", "putSidecars", "Change the configuration of the sidecars of a mesh", need{theMesh, "update", "sidecars"}, s.putSidecars)
}

func (s *Server) getSidecars(ctx context.Context, _ *InMesh) (*out[Sidecars], error) {
	return s.sidecarsOf(ctx, of(ctx).theMesh)
}

func (s *Server) sidecarsOf(ctx context.Context, m *hub.Mesh) (*out[Sidecars], error) {
	v := Sidecars{}
	if m.Spec.Sidecars != nil {
		v.Configuration.SidecarConfiguration = *m.Spec.Sidecars
	}
	v.Configured = meta.IsStatusConditionTrue(m.Status.Conditions, hub.ConditionSidecarsConfigured)
	v.Message = view.ConditionMessage(m.Status.Conditions, hub.ConditionSidecarsConfigured)
	reason := ""
	if meta.IsStatusConditionTrue(m.Status.Conditions, hub.ConditionFrozen) {
		reason = view.ConditionMessage(m.Status.Conditions, hub.ConditionFrozen)
	}
	var err error
	v.Change, err = s.permitted(ctx, "update", "sidecars", m.Name, "", reason)
	return body(v), err
}

func (s *Server) putSidecars(ctx context.Context, in *struct {
	InMesh
	Body SidecarConfiguration
},
) (*out[Sidecars], error) {
	m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: in.Mesh}}
	err := edit(ctx, s.options.Client, m, func(m *hub.Mesh) (bool, error) {
		m.Spec.Sidecars = in.Body.DeepCopy()
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return s.sidecarsOf(ctx, m)
}
