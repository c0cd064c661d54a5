// Package release holds the words in which the rest of Meshlift talks about Helm releases and charts, so that only
// package helm knows the Helm SDK. It is pure.
package release

import (
	"errors"
	"time"
)

// ErrNotFound is returned when there is no release of that name.
var ErrNotFound = errors.New("release not found")

// ErrBusy is returned when somebody else is at work on the release: it is pending and has been for a short time only. Try
// again later.
var ErrBusy = errors.New("somebody else is changing the release")

// BuiltIn as [Source.Repository] are the charts that are built into Meshlift.
const BuiltIn = "built-in"

// TakenOver begins the description of a revision that a dead process left pending.
const TakenOver = "Meshlift found it"

// Release is what Helm remembers about one installation of a chart.
type Release struct {
	Name, Namespace string
	// Revision of the release, counted by Helm from 1.
	Revision int
	// Chart is the name of the chart, ChartVersion its version.
	Chart, ChartVersion string
	// AppVersion is what the chart says it installs.
	AppVersion string
	// Status as in "helm status": "deployed", "failed", "pending-install" …
	Status string
	// Description says more about Status, for example why it failed.
	Description string
	// Values that the user supplied; never nil.
	Values map[string]any
	// Labels that were put on the release, without those of Helm itself.
	Labels map[string]string
	// Updated is when the release was changed last.
	Updated time.Time
}

// Chart is what a chart says about itself.
type Chart struct {
	Name, Version string
	// Defaults is its values.yaml.
	Defaults map[string]any
	// Files are the names of its files that are no templates ("files/profile-demo.yaml").
	Files []string
	// Words are the identifiers in its templates.
	Words map[string]bool
}

// Mentions tells whether a template of the chart mentions the key.
func (c Chart) Mentions(key string) bool { return c.Words[key] }

// Source says which chart to take from where.
type Source struct {
	// Repository is the URL of a Helm repository ("https://…"), of an OCI registry ("oci://…"), a directory, or [BuiltIn].
	Repository string
	// Name of the chart: "istiod", "base".
	Name string
	// Version of the chart, exactly.
	Version string
}

// Spec is a release as it should be.
type Spec struct {
	Name, Namespace string
	Source          Source
	// Values supplied to the chart.
	Values map[string]any
	// Labels to put on the release. Labels that it has already stay.
	Labels map[string]string
	// KeepWebhooks names validating webhook configurations whose failurePolicy and clientConfig must stay as they are in
	// the cluster, whatever the chart renders. Charts of Istio render only a first value, which istiod changes.
	KeepWebhooks []string
	// Force applies the release even if it is recorded as deployed with the same chart, values and labels.
	Force bool
}
