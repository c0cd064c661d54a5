package box

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"meshlift.dev/meshlift/lab/internal/builder"
	"meshlift.dev/meshlift/lab/internal/container"
	"meshlift.dev/meshlift/lab/internal/controlplane"
	"meshlift.dev/meshlift/lab/internal/layout"
	"meshlift.dev/meshlift/lab/internal/workloads"
)

// AutoRevision names the revision after the version: 1.30.0 becomes 1-30.
const AutoRevision = "auto"

// DefaultRevision asks for an un-revisioned control plane.
const DefaultRevision = "default"

// Options says what a lab consists of.
type Options struct {
	Name      string              `json:"name"`
	Clusters  []string            `json:"clusters"`
	Bare      []string            `json:"bare,omitempty"` // clusters without Istio and workloads
	Nodes     int                 `json:"nodes"`          // simulated nodes of each cluster
	Workloads workloads.Selection `json:"workloads"`
	Istio     map[string]string   `json:"istio"`    // version → directory
	Install   string              `json:"install"`  // version of Istio, "" for none
	Revision  string              `json:"revision"` // of the installed Istio, AutoRevision or DefaultRevision
	Tags      []string            `json:"tags,omitempty"`
	Images    []container.Image   `json:"images,omitempty"` // in addition to Istio's and the lab's own
	Audit     string              `json:"audit,omitempty"`  // namespace whose service accounts are audited
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)

// complete adds the versions of Istio that were built and checks everything.
func (o *Options) complete(dir layout.Dir) error {
	if !dnsLabel.MatchString(o.Name) {
		return fmt.Errorf("name of the lab %q: want lower-case letters, digits and dashes", o.Name)
	}
	if len(o.Clusters) == 0 || len(o.Clusters) > controlplane.MaxClusters {
		return fmt.Errorf("want 1 to %d clusters, not %d", controlplane.MaxClusters, len(o.Clusters))
	}
	for i, c := range o.Clusters {
		if !dnsLabel.MatchString(c) {
			return fmt.Errorf("name of a cluster %q: want lower-case letters, digits and dashes", c)
		}
		if slices.Contains(o.Clusters[:i], c) {
			return fmt.Errorf("cluster %q is named twice", c)
		}
	}
	for _, c := range o.Bare {
		if !slices.Contains(o.Clusters, c) {
			return fmt.Errorf("bare cluster %q is not one of %s", c, strings.Join(o.Clusters, ", "))
		}
	}
	if o.Audit != "" && !dnsLabel.MatchString(o.Audit) {
		return fmt.Errorf("namespace to audit %q: want lower-case letters, digits and dashes", o.Audit)
	}
	if err := layout.Built(dir.Bin("kube")); err != nil {
		return err
	}
	if o.Workloads.Rollouts {
		if err := layout.Built(dir.Bin(builder.RolloutsController), dir.ArgoRollouts()); err != nil {
			return err
		}
		const path = "/bin/rollouts-controller"
		o.Images = append(o.Images, container.Image{
			Repository: "argo-rollouts", Files: map[string]string{path: dir.Bin(builder.RolloutsController)}, Entrypoint: []string{path},
		})
	}
	return o.completeIstio(dir)
}

func (o *Options) completeIstio(dir layout.Dir) error {
	built, err := dir.IstioVersions()
	if err != nil {
		return err
	}
	all := map[string]string{}
	for _, v := range built {
		all[v] = dir.Istio(v)
	}
	maps.Copy(all, o.Istio)
	o.Istio = all
	for _, v := range slices.Sorted(maps.Keys(all)) {
		if err := layout.Built(filepath.Join(all[v], "pilot-discovery"), filepath.Join(all[v], "charts")); err != nil {
			return fmt.Errorf("Istio %s: %w", v, err)
		}
	}
	if o.Install == "" {
		return nil
	}
	if all[o.Install] == "" {
		return fmt.Errorf("Istio %s to install: the lab has %s (`lab build` builds, --istio VERSION=DIR adds others)",
			o.Install, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return nil
}

// mesh returns what a cluster gets installed.
func (o *Options) mesh(cluster string) (workloads.Mesh, workloads.Selection) {
	if slices.Contains(o.Bare, cluster) {
		return workloads.Mesh{}, workloads.Selection{}
	}
	return workloads.Mesh{Version: o.Install, Revision: revision(o.Revision, o.Install), Tags: o.Tags, Hub: builder.IstioHub}, o.Workloads
}

// revision returns the revision of an Istio version, "" for an un-revisioned one.
func revision(choice, version string) string {
	switch choice {
	case DefaultRevision:
		return ""
	case AutoRevision, "":
		major, rest, _ := strings.Cut(version, ".")
		minor, _, _ := strings.Cut(rest, ".")
		return major + "-" + minor
	default:
		return choice
	}
}

// ParseIstio reads VERSION=DIR.
func ParseIstio(list []string) (map[string]string, error) {
	versions := map[string]string{}
	for _, item := range list {
		version, dir, ok := strings.Cut(item, "=")
		if !ok || version == "" || dir == "" {
			return nil, fmt.Errorf("--istio %q: want VERSION=DIR", item)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("--istio %q: %w", item, err)
		}
		versions[version] = abs
	}
	return versions, nil
}

// ParseImages reads REPOSITORY[:TAG]=HOSTBINARY@/path/in/container.
func ParseImages(list []string) ([]container.Image, error) {
	var images []container.Image
	for _, item := range list {
		ref, rest, ok := strings.Cut(item, "=")
		file, path, ok2 := strings.Cut(rest, "@")
		if !ok || !ok2 || ref == "" || file == "" || !filepath.IsAbs(path) {
			return nil, fmt.Errorf("--image %q: want REPOSITORY=HOSTBINARY@/path/in/container", item)
		}
		host, err := filepath.Abs(file)
		if err != nil {
			return nil, fmt.Errorf("--image %q: %w", item, err)
		}
		if err := executable(host); err != nil {
			return nil, fmt.Errorf("--image %q: %w", item, err)
		}
		image := container.Image{Repository: ref, Files: map[string]string{path: host}, Entrypoint: []string{path}}
		if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
			image.Repository, image.Tag = ref[:i], ref[i+1:]
		}
		images = append(images, image)
	}
	return images, nil
}
