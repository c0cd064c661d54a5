package version

import (
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// A revision is part of names of objects and values of labels.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

func FuzzAVersionIsReadWholeOrRefusedInOneSentence(f *testing.F) {
	for _, s := range []string{
		"1.31", "1.31.0", "v1.31.2-distroless", "1.31+", "v1.27.3+k3s1", "1.30-alpha.0b1c2d", "", "v", "1", "1.", ".1", "1.x", "-1.2", "1.-2", "1.+2",
		"1.2147483648", "999999.999999", "1.031", "1.31.0\x1b[2J", "1.31\n", "１.３１", "1.31.\xff", "1.31-\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMinor(s)
		if err != nil {
			if text := err.Error(); strings.ContainsFunc(text, unicode.IsControl) || len(text) > 200+4*len(s) {
				t.Fatalf("the refusal of %q is no sentence: %q", s, text)
			}
			if m != (Minor{}) {
				t.Fatalf("%q is refused and still %v", s, m)
			}
			return
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) || unicode.IsSpace(r) }) {
			t.Fatalf("%q is accepted: it would be shown and become part of names", s)
		}
		again, err := ParseMinor(m.String())
		if err != nil || again != m || m.Compare(again) != 0 || IsFull(m.String()) {
			t.Fatalf("%q is %v, which reads as %v, %v", s, m, again, err)
		}
		if m.Major < 0 || m.Minor < 0 || !label.MatchString(m.Revision()) || len(m.Revision()) > 63 {
			t.Fatalf("%q makes the revision %q", s, m.Revision())
		}
	})
}

func FuzzVersionsHaveAnOrder(f *testing.F) {
	f.Add("1.9", "1.10", "2.0")
	f.Add("1.31", "1.31.4", "v1.31")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		x, e1 := ParseMinor(a)
		y, e2 := ParseMinor(b)
		z, e3 := ParseMinor(c)
		if e1 != nil || e2 != nil || e3 != nil {
			return
		}
		if (x.Compare(y) < 0) != (y.Compare(x) > 0) || (x.Compare(y) == 0) != (x == y) {
			t.Fatalf("%v and %v: %d, %d", x, y, x.Compare(y), y.Compare(x))
		}
		if x.Compare(y) <= 0 && y.Compare(z) <= 0 && x.Compare(z) > 0 {
			t.Fatalf("%v <= %v <= %v, but not the first and the last", x, y, z)
		}
	})
}
