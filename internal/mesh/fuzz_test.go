package mesh

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
)

func FuzzTheVersionInAnImageCanBeShown(f *testing.F) {
	for _, image := range []string{
		"docker.io/istio/pilot:1.30.0-distroless", "localhost:5000/pilot", "localhost:5000/pilot:1.31", "pilot@sha256:0123", "a:1.30@sha256:00", "istio/proxyv2:latest",
		"", ":", "@", "x:1", "x:1.31.0\x1b]0;title\x07", "x:1.31-debug-debug", "x:1\u202e", "x:1/y:2", ":::1.31",
	} {
		f.Add(image)
	}
	f.Fuzz(func(t *testing.T, image string) {
		v := VersionOfImage(image)
		if v == "" {
			return
		}
		if !strings.Contains(image, v) || len(v) > 128 || v[0] < '0' || v[0] > '9' ||
			strings.ContainsFunc(v, func(r rune) bool { return r > unicode.MaxASCII || !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
			t.Fatalf("the version in %q is %q", image, v)
		}
		if again := VersionOfImage("hub:5000/istio/proxyv2:" + v + "@sha256:0"); !strings.HasPrefix(v, again) || again == "" {
			t.Fatalf("%q in another image is %q", v, again)
		}
	})
}

func FuzzTheRevisionOfAPodIsWhatInjectionWroteDown(f *testing.F) {
	for _, status := range []string{
		`{"initContainers":["istio-init"],"revision":"1-30"}`, `{"revision":""}`, `{}`, `null`, `{"revision":1}`, `{"Revision":"x","revision":"y"}`, ``, `[`, "{\"revision\":\"\\ud800\"}", "\x00",
	} {
		f.Add(status, "1-29", true)
		f.Add(status, "", false)
	}
	f.Fuzz(func(t *testing.T, status, rev string, labelled bool) {
		annotations := map[string]string{AnnotationStatus: status}
		if labelled {
			annotations[LabelRev] = rev
		}
		var known struct{ Revision *string }
		got := RevisionOf(annotations)
		switch err := json.Unmarshal([]byte(status), &known); {
		case err != nil && got != annotations[LabelRev]:
			t.Fatalf("the status %q cannot be read, the annotation says %q, the revision is %q", status, rev, got)
		case err == nil && got == "":
			t.Fatalf("a pod with the status %q counts as not injected", status)
		case err == nil && known.Revision != nil && *known.Revision != "" && got != *known.Revision:
			t.Fatalf("the status %q means %q", status, got)
		}
		delete(annotations, AnnotationStatus)
		if got := RevisionOf(annotations); got != annotations[LabelRev] {
			t.Fatalf("without a status and with %q: %q", rev, got)
		}
	})
}

func FuzzASelectorSelectsWhatAdmissionSelects(f *testing.F) {
	for _, selector := range []string{
		`{}`, `{"matchLabels":{"a":"b"}}`, `{"matchExpressions":[{"key":"a","operator":"In","values":["b","c"]},{"key":"x","operator":"DoesNotExist"}]}`,
		`{"matchExpressions":[{"key":"a","operator":"NotIn","values":["b"]}]}`, `{"matchExpressions":[{"key":"a","operator":"Exists"}]}`,
		`{"matchExpressions":[{"key":"a","operator":"In"}]}`, `{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}`,
		`{"matchExpressions":[{"key":"a","operator":"Gt","values":["1"]}]}`, `{"matchExpressions":[{"key":"","operator":"Exists"}]}`, `{"matchLabels":{"a b":"c"}}`, `{"matchLabels":{"a":"b c"}}`,
		`{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["shop"]}]}`,
	} {
		f.Add([]byte(selector), []byte(`{"a":"b"}`), "shop")
	}
	f.Fuzz(func(t *testing.T, selector, set []byte, namespace string) {
		var s metav1.LabelSelector
		var l map[string]string
		if json.Unmarshal(selector, &s) != nil || json.Unmarshal(set, &l) != nil || l == nil {
			return
		}
		if len(validation.ValidateLabelSelector(&s, validation.LabelSelectorValidationOptions{}, nil)) > 0 {
			return // no API server stores it
		}
		want := false
		admission := labels.Set{"kubernetes.io/metadata.name": namespace}
		if namespace == "" {
			admission = labels.Set{}
		}
		for k, v := range l {
			admission[k] = v
		}
		if compiled, err := metav1.LabelSelectorAsSelector(&s); err == nil {
			want = compiled.Matches(admission)
		}
		if got := selects(&s, labelled{l, namespace}); got != want {
			t.Fatalf("%s on %v: %v, admission says %v", selector, admission, got, want)
		}
	})
}
