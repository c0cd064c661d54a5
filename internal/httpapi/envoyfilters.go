package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// EnvoyFilter is one EnvoyFilter of a mesh.
type EnvoyFilter struct {
	Cluster   string     `json:"cluster"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	Hash      string     `json:"hash" doc:"Of its spec: what was checked is checked for this content only."`
	Creator   string     `json:"creator,omitempty" doc:"Label or annotation that names a creator, else who wrote the spec."`
	Target    string     `json:"target,omitempty" doc:"Istio version that it has to be checked for; empty when no upgrade runs."`
	Handled   bool       `json:"handled" doc:"Somebody checked this content for the target version."`
	By        string     `json:"by,omitempty"`
	At        *time.Time `json:"at,omitempty"`
	Note      string     `json:"note,omitempty"`
	Verdict   string     `json:"verdict,omitempty" enum:"fine,changes,unknown,breaks" doc:"What it is worth with the target version; empty while it has not been judged."`
	Why       string     `json:"why,omitempty" doc:"Explains the verdict."`
}

// EnvoyFilters are those of a mesh, and the clusters that could not be asked.
type EnvoyFilters struct {
	Page[EnvoyFilter]
	Unknown []UnknownCluster `json:"unknown" nullable:"false" doc:"Clusters whose EnvoyFilters are not known."`
}

// UnknownCluster could not be asked.
type UnknownCluster struct {
	Cluster string `json:"cluster"`
	Message string `json:"message"`
}

// EnvoyFilterDetail is one EnvoyFilter with its content.
type EnvoyFilterDetail struct {
	EnvoyFilter
	YAML     string    `json:"yaml"`
	Managers []Manager `json:"managers" nullable:"false" doc:"Who wrote which parts, newest first."`
}

// Manager wrote a part of an object.
type Manager struct {
	Name      string     `json:"name"`
	Operation string     `json:"operation"`
	At        *time.Time `json:"at,omitempty"`
}

type InEnvoyFilter struct {
	InCluster
	Namespace string `path:"namespace"`
	Name      string `path:"name"`
}

func envoyFilters(s *Server) {
	const one = "/clusters/{cluster}/envoyfilters/{namespace}/{name}"
	add(s, http.MethodGet, "/meshes/{mesh}/envoyfilters", "listEnvoyFilters", "The EnvoyFilters of all clusters of a mesh", need{theMesh, "get", ""}, s.listEnvoyFilters)
	add(s, http.MethodGet, one, "getEnvoyFilter", "One EnvoyFilter with its content", need{theMesh, "get", "envoyfilters"}, s.getEnvoyFilter)
	add(s, http.MethodPost, one+"/handled", "handleEnvoyFilter", "Record that it was checked for the target version", need{theMesh, "update", "envoyfilters"}, s.handleEnvoyFilter)
	add(s, http.MethodDelete, one+"/handled", "unhandleEnvoyFilter", "Take the record back", need{theMesh, "update", "envoyfilters"}, s.unhandleEnvoyFilter)
}

// filters of one cluster, with what was recorded about them.
func (s *Server) filters(ctx context.Context, cluster string) ([]EnvoyFilter, error) {
	r, err := s.inventories.soon(ctx, cluster)
	if err != nil {
		return nil, err
	}
	u, err := s.current(ctx, cluster)
	if err != nil {
		return nil, err
	}
	var rows []EnvoyFilter
	for _, f := range r.inventory.EnvoyFilters {
		row := EnvoyFilter{Cluster: cluster, Namespace: f.Namespace, Name: f.Name, Hash: f.Hash, Creator: f.Owner}
		row.note(u)
		rows = append(rows, row)
	}
	return rows, nil
}

// note fills in what the upgrade says about the EnvoyFilter.
func (f *EnvoyFilter) note(u *v1alpha1.ClusterUpgrade) {
	if u == nil {
		return
	}
	if f.Target = u.Spec.Version; u.Status.To != nil {
		f.Target = u.Status.To.Version
	}
	if n := slices.IndexFunc(u.Status.EnvoyFilters, func(o v1alpha1.EnvoyFilterStatus) bool {
		return o.Namespace == f.Namespace && o.Name == f.Name && o.Hash == f.Hash
	}); n >= 0 {
		f.Verdict, f.Why = u.Status.EnvoyFilters[n].Verdict, u.Status.EnvoyFilters[n].Why
	}
	if a := intent.Acknowledgement(u, f.Namespace, f.Name, f.Hash); a != nil {
		f.Handled, f.By, f.At, f.Note = true, a.By, view.Instant(&a.At), a.Note
	}
}

func (s *Server) listEnvoyFilters(ctx context.Context, in *struct {
	InMesh
	Paging
	Search  string `query:"search" doc:"Words that cluster, namespace, name or creator contain."`
	Cluster string `query:"cluster" doc:"Of this cluster only."`
	Open    bool   `query:"open" doc:"Only those that are not handled."`
},
) (*out[EnvoyFilters], error) {
	f, err := s.fleet(ctx)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(f.members(in.Mesh), func(m *hub.MemberCluster) bool { return in.Cluster != "" && m.Name != in.Cluster })
	// At the same time: a cluster that hangs costs its own time-out, and not one after the other.
	rows, errs := make([][]EnvoyFilter, len(members)), make([]error, len(members))
	var wg sync.WaitGroup
	for n, m := range members {
		wg.Go(func() { rows[n], errs[n] = s.filters(ctx, m.Name) })
	}
	wg.Wait()
	v := EnvoyFilters{Unknown: []UnknownCluster{}}
	for n, m := range members {
		if errs[n] != nil {
			v.Unknown = append(v.Unknown, UnknownCluster{m.Name, asProblem(s.problem(errs[n])).Detail})
		}
	}
	all := slices.DeleteFunc(slices.Concat(rows...), func(r EnvoyFilter) bool {
		return in.Open && r.Handled || !found(in.Search, r.Cluster, r.Namespace, r.Name, r.Creator)
	})
	slices.SortStableFunc(all, func(a, b EnvoyFilter) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	v.Page, err = paged(all, in.Paging)
	return body(v), err
}

var envoyFilterKind = schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1alpha3", Kind: "EnvoyFilter"}

func (s *Server) getEnvoyFilter(ctx context.Context, in *InEnvoyFilter) (*out[EnvoyFilterDetail], error) {
	c, err := s.options.Members.Client(in.Cluster)
	if err != nil {
		return nil, err
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(envoyFilterKind)
	if err := c.Get(ctx, client.ObjectKey{Namespace: in.Namespace, Name: in.Name}, obj); err != nil {
		return nil, err
	}
	d := EnvoyFilterDetail{EnvoyFilter: EnvoyFilter{Cluster: in.Cluster, Namespace: in.Namespace, Name: in.Name}, Managers: []Manager{}}
	for _, m := range obj.GetManagedFields() {
		d.Managers = append(d.Managers, Manager{m.Manager, string(m.Operation), view.Instant(m.Time)})
	}
	slices.Reverse(d.Managers)
	obj.SetManagedFields(nil)
	text, err := yaml.Marshal(obj.Object)
	if err != nil {
		return nil, err
	}
	d.YAML = string(text)
	rows, err := s.filters(ctx, in.Cluster)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Namespace == in.Namespace && r.Name == in.Name {
			d.EnvoyFilter = r
		}
	}
	return body(d), nil
}

func (s *Server) handleEnvoyFilter(ctx context.Context, in *struct {
	InEnvoyFilter
	Body struct {
		Hash string `json:"hash" minLength:"1" maxLength:"64" doc:"Of the content that was checked, as the list showed it."`
		Note string `json:"note,omitempty" maxLength:"1024" doc:"What was checked or changed."`
	}
},
) (*out[ClusterUpgrade], error) {
	by := of(ctx).user.Name
	return s.editUpgrade(ctx, in.Cluster, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		n := slices.IndexFunc(u.Status.EnvoyFilters, func(f v1alpha1.EnvoyFilterStatus) bool { return f.Namespace == in.Namespace && f.Name == in.Name })
		switch {
		case n < 0:
			return false, problemf(http.StatusNotFound, "upgrade %s knows no EnvoyFilter %s/%s", u.Name, in.Namespace, in.Name)
		case u.Status.EnvoyFilters[n].Hash != in.Body.Hash:
			return false, refused(v1alpha1.ReasonFilters, "EnvoyFilter %s/%s has changed since you looked at it: check it again", in.Namespace, in.Name)
		}
		return intent.Acknowledge(u, u.Status.EnvoyFilters[n], by, s.now(), in.Body.Note), nil
	})
}

func (s *Server) unhandleEnvoyFilter(ctx context.Context, in *InEnvoyFilter) (*out[ClusterUpgrade], error) {
	return s.editUpgrade(ctx, in.Cluster, func(u *v1alpha1.ClusterUpgrade) (bool, error) {
		before := len(u.Spec.EnvoyFilters)
		u.Spec.EnvoyFilters = slices.DeleteFunc(u.Spec.EnvoyFilters, func(a v1alpha1.EnvoyFilterAcknowledgement) bool {
			return a.Namespace == in.Namespace && a.Name == in.Name
		})
		return len(u.Spec.EnvoyFilters) != before, nil
	})
}
