package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// handlers are those of [Register], by kind; a panic is not recovered.
func handlers(t testing.TB) map[string]*admission.Webhook {
	done := running("up")
	for _, c := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionComponentsReady, v1alpha1.ConditionControlPlaneReady, v1alpha1.ConditionEnvoyFiltersHandled} {
		done.Status.Conditions = append(done.Status.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDone})
	}
	o, s := options(t, done, named(&corev1.Namespace{}, "shop")), scheme(t)
	alone := options(t)
	return map[string]*admission.Webhook{
		"ClusterUpgrade":         admission.WithValidator(s, upgradeValidator{o}).WithRecoverPanic(false),
		"ClusterUpgrade (first)": admission.WithValidator(s, upgradeValidator{alone}).WithRecoverPanic(false),
		"DataPlaneRollout":       admission.WithValidator(s, rolloutValidator{o}).WithRecoverPanic(false),
		"Catalog":                admission.WithValidator(s, catalogValidator{}).WithRecoverPanic(false),
		"ControlPlane":           admission.WithValidator(s, controlPlaneValidator{o}).WithRecoverPanic(false),
	}
}

// answered checks an answer of one of our own validators.
func answered(t *testing.T, kind string, r admission.Response) {
	t.Helper()
	if r.UID != "u" || len(r.Patches) > 0 || len(r.Patch) > 0 {
		t.Fatalf("%s: the answer %+v", kind, r)
	}
	if r.Allowed || r.Result == nil || r.Result.Code != http.StatusForbidden {
		return // or 400: what cannot be decoded is explained by the decoder
	}
	m := r.Result.Message
	if m == "" || strings.ContainsFunc(m, unicode.IsControl) || strings.Contains(m, "%!") || strings.HasSuffix(m, ".") || len(m) > 4<<10 {
		t.Fatalf("%s is not refused in one sentence: %q", kind, m)
	}
}

func ask(h *admission.Webhook, operation string, object, old []byte) admission.Response {
	return h.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		UID: "u", Operation: admissionv1.Operation(operation), Object: runtime.RawExtension{Raw: object}, OldObject: runtime.RawExtension{Raw: old},
	}})
}

func FuzzEveryEditIsAnswered(f *testing.F) {
	all := handlers(f)
	for _, object := range []string{
		``, `{`, `null`, `[]`, `{"spec":null}`, `{"metadata":{"name":"x"},"spec":{"version":"1.31"}}`, `{"spec":{"version":"1.31","from":"\u001b[2J"}}`,
		`{"spec":{"version":"1.31","envoyFilters":[{"namespace":"a","name":"b","hash":"\n"},{}]}}`, `{"spec":{"version":"9999999999999999999.1"}}`,
		`{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"to":{"revision":"1-31"},"conditions":[{}]}}`,
		`{"metadata":{"name":"r"},"spec":{"upgrade":"up","direction":"Forward","targets":[{"namespace":"shop"},{"namespace":"\t","kind":"x"}]}}`,
		`{"spec":{"upgrade":"up","direction":"Back","parallelism":-1,"maxPods":"9%%","timeout":"-1h","waves":[{"name":"a","podSelector":{"matchLabels":{"\n":"\u0000"}}},{"name":"a"}]}}`,
		`{"spec":{"upgrade":"up","windows":[{"start":"* * * * *","duration":"1h","timeZone":"../../etc/passwd"}],"freezes":[{"name":"x","from":"2026-01-01T00:00:00Z","to":"2020-01-01T00:00:00Z"}]}}`,
		`{"spec":{"releases":[{"version":"1.31","kubernetes":["1.35","1.35","\u0007"]}],"paths":[{"from":"1.31","to":"1.31"},{"from":"","to":""}]}}`,
		`{"spec":{"istioNamespace":"a\u0000b","windows":[{"start":"61 25 * * *","duration":"-1h"}]}}`, `{"apiVersion":"v1","kind":"Pod"}`,
	} {
		for _, operation := range []string{"CREATE", "UPDATE", "DELETE"} {
			f.Add(operation, []byte(object), []byte(`{"metadata":{"name":"x"},"spec":{"version":"1.30","istioNamespace":"istio-system"}}`))
		}
	}
	f.Add("", []byte("{}"), []byte("{}"))
	f.Fuzz(func(t *testing.T, operation string, object, old []byte) {
		for kind, h := range all {
			answered(t, kind, ask(h, operation, object, old))
		}
	})
}

func FuzzEveryRequestHasAnAnswer(f *testing.F) {
	h := handlers(f)["ClusterUpgrade"]
	for _, body := range []string{
		"", "{", "null", "[]", `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}`, `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":null}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"CREATE","object":{"spec":{"version":"1.31"}}}}`,
		`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","operation":"UPDATE","object":1,"oldObject":"x"}}`, `{"kind":"Pod","apiVersion":"v1"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, w := httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(body)), httptest.NewRecorder()
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(w, r)
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil {
			t.Fatalf("%q is answered with %q", body, w.Body)
		}
	})
}

func TestHugeObjectsAreAnsweredSoonAndBriefly(t *testing.T) {
	many := func(n int, f string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = strings.ReplaceAll(f, "#", fmt.Sprint(i))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	deep := strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)
	for name, object := range map[string]string{
		"targets":   `{"spec":{"upgrade":"up","direction":"Forward","targets":` + many(10000, `{"namespace":"n#","kind":"Deployment","name":"x"}`) + `}}`,
		"decisions": `{"spec":{"upgrade":"up","decisions":` + many(5000, `{"kind":"Deployment","namespace":"n","name":"x#","action":"Retry"}`) + `}}`,
		"waves":     `{"spec":{"upgrade":"up","waves":` + many(2000, `{"name":"w#","podSelector":{"matchLabels":{"a":"b#"}}}`) + `}}`,
		"windows":   `{"spec":{"upgrade":"up","windows":` + many(2000, `{"start":"0 0 30 2 *","duration":"1h","timeZone":"Europe/Berlin"}`) + `}}`,
		"filters":   `{"spec":{"version":"1.31","envoyFilters":` + many(4000, `{"namespace":"n","name":"x#","hash":"h","by":"ana"}`) + `}}`,
		"releases":  `{"spec":{"releases":` + many(4000, `{"version":"1.#","kubernetes":["1.35","1.36"]}`) + `,"paths":` + many(4000, `{"from":"1.#","to":"1.1#"}`) + `}}`,
		"a version": `{"spec":{"version":"` + strings.Repeat("1.", 500000) + `"}}`,
		"depth":     `{"spec":{"version":"1.31","valueOverrides":` + deep + `}}`,
	} {
		for kind, h := range handlers(t) {
			for _, operation := range []string{"CREATE", "UPDATE", "DELETE"} {
				start := time.Now()
				answered(t, kind, ask(h, operation, []byte(object), []byte(object)))
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("%s with huge %s: %s took %s", kind, name, operation, d)
				}
			}
		}
	}
}
