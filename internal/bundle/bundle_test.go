package bundle_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/bundle"
)

func sample() bundle.Bundle {
	return bundle.Bundle{
		Meshlift: "0.1.0",
		Catalog:  v1alpha1.CatalogSpec{Releases: []v1alpha1.Release{{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}}}},
		Charts:   map[string][]byte{"istiod-1.31.0.tgz": []byte("istiod"), "base-1.31.0.tgz": []byte("base")},
		Images:   []string{"docker.io/istio/pilot:1.31.0", "docker.io/istio/proxyv2:1.31.0"},
	}
}

func file(t testing.TB, b bundle.Bundle) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := bundle.Write(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatWasPackedComesOutAgainAndTheFileIsTheSameEveryTime(t *testing.T) {
	first := file(t, sample())
	if !bytes.Equal(first, file(t, sample())) {
		t.Error("the same content made two different files")
	}
	got, err := bundle.Read(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), got); diff != "" {
		t.Errorf("content (-packed +read):\n%s", diff)
	}
}

func TestNamesThatLeaveTheBundleAreRefused(t *testing.T) {
	for _, name := range []string{"", "../../etc/passwd", "a/b.tgz", `a\b.tgz`} {
		b := sample()
		b.Charts[name] = []byte("x")
		if err := bundle.Write(&bytes.Buffer{}, b); err == nil {
			t.Errorf("%q was packed", name)
		}
	}
}

// Whatever happens to a file on its way, it is read whole or not at all, and never with other content.
func FuzzRead(f *testing.F) {
	whole := file(f, sample())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("PK"))
	changed := bytes.Clone(whole)
	changed[len(changed)/2] ^= 1
	f.Add(changed)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := bundle.Read(bytes.NewReader(data))
		if err != nil {
			if strings.Contains(err.Error(), "\n") && len(err.Error()) > 1000 {
				t.Errorf("a refusal of %d characters", len(err.Error()))
			}
			return
		}
		again, err := bundle.Read(bytes.NewReader(file(t, b)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Fatalf("a bundle that was read is packed as another one:\n%s", diff)
		}
	})
}

func TestEveryTruncationIsRefused(t *testing.T) {
	whole := file(t, sample())
	for n := range whole {
		if _, err := bundle.Read(bytes.NewReader(whole[:n])); err == nil {
			t.Fatalf("%d of %d bytes were taken for the whole", n, len(whole))
		}
	}
}
