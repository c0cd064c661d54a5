package install

import (
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/charts"
)

// part of Meshlift that can be installed in a cluster.
type part struct {
	// name in sentences.
	name string
	// chart, and the release's name when the usual one belongs to another part.
	chart, second string
	deployment    string
	files         func() (fs.FS, error)
	labels        map[string]string
	// adopts is true when it looks after an Istio that has to be there.
	adopts bool
	// next says what to do when it is installed; {} stands for the program.
	next string
}

// agent of a cluster.
var agent = part{
	name: "agent", chart: "meshlift-agent", second: "meshlift-agent", deployment: Deployment, files: charts.Agent,
	labels: map[string]string{"meshlift.dev/agent": "true"}, adopts: true, next: "See what it found: {} status",
}

// hub of many clusters.
var hub = part{name: "hub", chart: "meshlift", second: "meshlift-hub", deployment: "meshlift-hub", files: charts.Hub, next: "Make a mesh: {} mesh create NAME"}

// CRDs returns the kinds of the agent as they are built into the binary.
func CRDs() ([]*unstructured.Unstructured, error) { return agent.crds() }

func (p part) crds() ([]*unstructured.Unstructured, error) {
	files, err := p.files()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list CRDs: %w", err)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read CRD %q: %w", name, err)
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &crd.Object); err != nil {
			return nil, fmt.Errorf("parse CRD %q: %w", name, err)
		}
		out = append(out, crd)
	}
	return out, nil
}
