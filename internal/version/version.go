// Package version understands Istio and Kubernetes versions as far as upgrades need it: only minor versions count.
package version

import (
	"fmt"
	"strconv"
	"strings"
)

// Minor is a minor version such as 1.31.
type Minor struct{ Major, Minor int }

// maxLength of a version is that of an image tag
// (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
const maxLength = 128

// ParseMinor reads the minor version of "1.31", "1.31.0", "v1.31.2-distroless", "1.31+" or "v1.27.3+k3s1". What it accepts
// can be shown and be part of names: it consists of letters, digits and "._+-" only.
func ParseMinor(s string) (Minor, error) {
	if len(s) > maxLength {
		return Minor{}, fmt.Errorf("%q… is not a version: want for example 1.31 or 1.31.0", s[:maxLength])
	}
	parts := strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3)
	if len(parts) < 2 || strings.ContainsFunc(s, outside) {
		return Minor{}, fmt.Errorf("%q is not a version: want for example 1.31 or 1.31.0", s)
	}
	major, err := number(parts[0])
	if err != nil {
		return Minor{}, fmt.Errorf("%q is not a version: want for example 1.31 or 1.31.0", s)
	}
	rest := parts[1]
	if len(parts) == 2 {
		rest, _, _ = strings.Cut(rest, "-")
		rest, _, _ = strings.Cut(rest, "+")
	}
	minor, err := number(rest)
	if err != nil {
		return Minor{}, fmt.Errorf("%q is not a version: want for example 1.31 or 1.31.0", s)
	}
	return Minor{major, minor}, nil
}

// outside tells whether a character cannot be part of a version.
func outside(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("._+-", r)
}

// number accepts what strconv.Atoi accepts, without signs and within reason.
func number(s string) (int, error) {
	if s == "" || len(s) > 6 || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(s)
}

// String is "1.31".
func (m Minor) String() string { return fmt.Sprintf("%d.%d", m.Major, m.Minor) }

// Compare orders minor versions.
func (m Minor) Compare(o Minor) int {
	if m.Major != o.Major {
		return m.Major - o.Major
	}
	return m.Minor - o.Minor
}

// Revision is the conventional revision name of the version: "1-31"
// (https://istio.io/latest/docs/setup/upgrade/canary/).
func (m Minor) Revision() string { return fmt.Sprintf("%d-%d", m.Major, m.Minor) }

// IsFull tells whether s names a patch version ("1.31.0") and not only a minor one.
func IsFull(s string) bool { return strings.Count(strings.TrimPrefix(s, "v"), ".") >= 2 }
