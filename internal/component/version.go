package component

import (
	"fmt"
	"regexp"

	"github.com/Masterminds/semver/v3"
)

// compare orders two versions; what is no version is an error, in a sentence.
func compare(a, b string) (int, error) {
	va, err := semver.NewVersion(a)
	if err != nil {
		return 0, fmt.Errorf("version %q cannot be read", a)
	}
	vb, err := semver.NewVersion(b)
	if err != nil {
		return 0, fmt.Errorf("version %q cannot be read", b)
	}
	return va.Compare(vb), nil
}

// Older tells whether a is certainly older than b.
func Older(a, b string) bool {
	c, err := compare(a, b)
	return err == nil && c < 0
}

// csvVersion is the end of the name of a ClusterServiceVersion: "jaeger-operator.v1.65.0"
// (https://olm.operatorframework.io/docs/best-practices/common/).
var csvVersion = regexp.MustCompile(`\.v?([0-9]+(\.[0-9].*)?)$`)

// CSVVersion returns the version in the name of a ClusterServiceVersion; empty when there is none.
func CSVVersion(name string) string {
	// The leftmost match is the longest version.
	m := csvVersion.FindStringSubmatch(name)
	if m == nil {
		return ""
	}
	return m[1]
}
