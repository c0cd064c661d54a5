package check

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"meshlift.dev/meshlift/internal/preflight"
)

// The form that continuous integration reads (https://github.com/testmoapp/junitxml): a check with errors has failed, one that could not be made
// was skipped, and warnings are its output.
type (
	suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	suite struct {
		Name      string `xml:"name,attr"`
		Tests     int    `xml:"tests,attr"`
		Failures  int    `xml:"failures,attr"`
		Skipped   int    `xml:"skipped,attr"`
		Timestamp string `xml:"timestamp,attr"`
		Cases     []testCase
	}
	testCase struct {
		XMLName xml.Name `xml:"testcase"`
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Failure *outcome `xml:"failure,omitempty"`
		Skipped *outcome `xml:"skipped,omitempty"`
		Output  string   `xml:"system-out,omitempty"`
	}
	outcome struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r preflight.Report, from preflight.Severity) error {
	s := suite{
		Name:  fmt.Sprintf("meshlift check: Istio %s to %s", r.From.Version, r.To.Version),
		Tests: len(r.Checks), Timestamp: r.At.Format("2006-01-02T15:04:05Z"),
	}
	for _, c := range above(r, from).Checks {
		t := testCase{Class: "meshlift.check", Name: c.ID}
		text := lines(c.Findings)
		switch {
		case c.Severity == preflight.Error && !c.Ignored:
			t.Failure = &outcome{c.Title, text}
			s.Failures++
		case c.Severity == preflight.Unknown:
			t.Skipped = &outcome{"unknown", text}
			s.Skipped++
		default:
			t.Output = text
		}
		s.Cases = append(s.Cases, t)
	}
	data, err := xml.MarshalIndent(suites{Suites: []suite{s}}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode output: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, data)
	return err
}

func lines(findings []preflight.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		object := ""
		if f.Object != nil {
			object = f.Object.String() + ": "
		}
		fmt.Fprintf(&b, "%s: %s%s %s\n", f.Severity, object, f.Explanation, f.Remedy)
	}
	return b.String()
}
