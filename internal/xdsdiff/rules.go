package xdsdiff

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/internal/version"
)

//go:embed rules.yaml
var embedded []byte

// Rule knows a change that comes with a version of Istio.
type Rule struct {
	ID string `json:"id"`
	// Since is the first minor version of Istio that has it.
	Since string `json:"since"`
	// Harmless changes are folded.
	Harmless bool   `json:"harmless,omitempty"`
	Reason   string `json:"reason"`
	Link     string `json:"link"`
	// Kind of resources; "" for any.
	Kind Kind `json:"-"`
	// Path, Old and New are regular expressions for the whole path, and the values as JSON ("null" when not set).
	path, old, young *regexp.Regexp
}

var rules = sync.OnceValue(func() []Rule {
	var out []Rule
	var list []struct {
		Rule
		Kind           Kind
		Path, Old, New string
	}
	if err := yaml.UnmarshalStrict(embedded, &list); err != nil {
		panic(fmt.Sprintf("read embedded rules: %v", err)) // a test reads them
	}
	for _, r := range list {
		r.Rule.Kind = r.Kind
		r.path, r.old, r.young = whole(r.Path), whole(r.Old), whole(r.New)
		out = append(out, r.Rule)
	}
	return out
})

func whole(expression string) *regexp.Regexp {
	if expression == "" {
		expression = ".*"
	}
	return regexp.MustCompile("^(?:" + expression + ")$")
}

// Rules are those about changes that come between the two versions. What cannot be read as a version has all of them.
func Rules(from, to string) []Rule {
	low, errLow := version.ParseMinor(from)
	high, errHigh := version.ParseMinor(to)
	var out []Rule
	for _, r := range rules() {
		since, err := version.ParseMinor(r.Since)
		if errLow != nil || errHigh != nil || err != nil || low.Compare(since) < 0 && high.Compare(since) >= 0 {
			out = append(out, r)
		}
	}
	return out
}

func match(rules []Rule, f found) *Rule {
	for n := range rules {
		r := &rules[n]
		if (r.Kind == "" || r.Kind == f.kind) && r.path.MatchString(f.path) && r.old.MatchString(asJSON(f.old)) && r.young.MatchString(asJSON(f.new)) {
			return r
		}
	}
	return nil
}

func asJSON(v any) string {
	text, err := JSON(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return text
}

// JSON of a value, in one line and as people write it.
func JSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}
