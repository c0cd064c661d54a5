package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/test/lab/labtest"
)

func TestChecksFindWhatIsPlantedInARealCluster(t *testing.T) {
	t.Parallel()
	l := up(t, "check", "--install", "1.30.0")
	l.Kubectl(t, strings.NewReader(sound), "apply", "-f", "-")
	available(t, l, "shop", "cart")
	l.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(l.Root, "charts", "meshlift-agent", "crds"))
	l.Kubectl(t, nil, "wait", "--for", "condition=Established", "crd/catalogs.meshlift.dev")
	l.Kubectl(t, nil, "apply", "-f", filepath.Join(l.Root, "examples", "lab-catalog.yaml"))

	t.Run("a sound cluster", func(t *testing.T) {
		// The chart of the lab's 1.30 keeps the old behaviour of one setting, which 1.31 does not have any more. That is all there is.
		r := check(t, l, 0, "--to", "1.31")
		if got := found(r); !slices.Equal(got, []string{"warning behaviour-changes istio-system/Deployment/istiod-1-30"}) || !r.Passed {
			t.Errorf("found %q", got)
		}
	})
	t.Run("what the new istiod says", func(t *testing.T) {
		l.Kubectl(t, nil, "delete", "validatingwebhookconfiguration", "istiod-default-validator")
		for _, text := range strings.Split(invalid, "---") {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
				t.Fatal(err)
			}
			labtest.Eventually(t, "nobody validates", func(ctx context.Context) string {
				if err := l.Client.Create(ctx, u.DeepCopy()); err != nil {
					return err.Error()
				}
				return ""
			})
		}
		install(t, l, "1.31.0", "1-31")
		contains(t, check(t, l, 3, "--to", "1.31"),
			"warning default-validator ", "error upgrade-path ",
			"warning config-admission shop/VirtualService/invalid", "warning envoyfilters shop/EnvoyFilter/unknown-type")
	})
	t.Run("everything else", func(t *testing.T) {
		plant(t, l)
		r := check(t, l, 3, "--to", "1.31", "--revision", "canary")
		contains(t, r, planted()...)
		if slices.Contains(found(r), "warning gateway-ports edge/Deployment/gateway") {
			t.Error("the injection template of gateways lets them listen on port 80")
		}
		if list := found(r); slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "unknown ") && !strings.Contains(s, "EnvoyFilter") }) {
			t.Errorf("something could not be read: %q", list)
		}
	})
	t.Run("two injectors for one pod", func(t *testing.T) {
		l.Kubectl(t, strings.NewReader(secondInjector), "apply", "-f", "-")
		contains(t, check(t, l, 3, "--from", "1-30", "--to", "1.31", "--revision", "canary"), "error injector-overlap edge/Deployment/selected-twice")
		l.Kubectl(t, strings.NewReader(secondInjector), "delete", "-f", "-")
	})
	t.Run("errors keep an upgrade from starting, unless they are ignored by name, which is recorded", func(t *testing.T) { startIsRefused(t, l) })
	t.Run("an istiod that is down", func(t *testing.T) {
		l.Kubectl(t, nil, "-n", "istio-system", "scale", "deployment", "istiod-1-30", "--replicas", "0")
		labtest.Eventually(t, "it is down", func(context.Context) string {
			if list := found(check(t, l, 3, "--to", "1.31", "--revision", "canary")); !slices.Contains(list, "error istiod-health istio-system/Deployment/istiod-1-30") {
				return fmt.Sprint(list)
			}
			return ""
		})
	})
}

// plant brings every trouble into the cluster and waits until its controllers have seen it.
func plant(t *testing.T, l *labtest.Lab) {
	l.Istioctl(t, "tag", "set", "prod", "--revision", "1-30")
	l.Kubectl(t, nil, "apply", "--server-side", "-f", filepath.Join(l.Root, ".lab", "istio", "gateway-api"))
	l.Kubectl(t, nil, "wait", "--for", "condition=Established", "crd/gateways.gateway.networking.k8s.io")
	l.Kubectl(t, strings.NewReader(troubles), "apply", "-f", "-")
	l.Kubectl(t, nil, "patch", "node", "old-node", "--subresource", "status", "--type", "merge", "-p", `{"status": {"nodeInfo": {"kubeletVersion": "v1.31.4"}}}`)
	// The CRDs come with a policy that lets no older ones in; a cluster that has older ones does not have it.
	l.Kubectl(t, nil, "delete", "validatingadmissionpolicybinding", "safe-upgrades.gateway.networking.k8s.io", "--ignore-not-found")
	crd := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}, ObjectMeta: metav1.ObjectMeta{Name: "tlsroutes.gateway.networking.k8s.io"}}
	labtest.Eventually(t, "the CRD is of an older bundle", func(ctx context.Context) string {
		older := client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"annotations": {"gateway.networking.k8s.io/bundle-version": "v1.4.0"}}}`))
		if err := l.Client.Patch(ctx, crd.DeepCopy(), older); err != nil {
			return err.Error()
		}
		return ""
	})
	l.Kubectl(t, nil, "-n", "istio-system", "patch", "deployment", "istiod-1-30", "-p", `{"spec": {"template": {"spec": {
		"containers": [{"name": "discovery", "resources": {"requests": {"cpu": "5000"}}}],
		"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/os", "labelSelector": {"matchLabels": {"app": "istiod"}}}]}}}}}}`)
	l.Kubectl(t, strings.NewReader(validatorOfAnotherTime), "apply", "-f", "-")
	other := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "cacerts"}, StringData: map[string]string{}}
	root := authority(t, 3*24*time.Hour)
	other.StringData["ca-cert.pem"], other.StringData["root-cert.pem"] = root, root
	if err := l.Client.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	available(t, l, "shop", "all-at-once")
	available(t, l, "shop", "fragile")
	l.Kubectl(t, strings.NewReader(edge), "apply", "-f", "-")
	available(t, l, "leaving", "leaver")
	available(t, l, "late", "newcomer")
	available(t, l, "edge", "gateway")
	l.Kubectl(t, nil, "label", "namespace", "leaving", "istio.io/rev-")
	l.Kubectl(t, nil, "label", "namespace", "late", "istio.io/rev=1-30")
	l.Kubectl(t, strings.NewReader(last), "apply", "-f", "-")
}

func planted() []string {
	return []string{
		"warning dangling-revision Namespace/dangling", "warning injection-labels Namespace/two-labels",
		"error leftover-injectors MutatingWebhookConfiguration/istio-sidecar-injector-1-28",
		"warning single-replica shop/Deployment/fragile", "warning readiness-probes shop/Deployment/fragile", "warning proxy-image shop/Deployment/fragile",
		"warning graceful-end shop/Deployment/fragile", "info deprecated shop/Deployment/fragile", "warning max-unavailable shop/Deployment/all-at-once",
		"warning disruption-budgets shop/PodDisruptionBudget/nobody-goes", "warning workload-quota shop/Deployment/cart", "warning service-selectors shop/Service/old-only",
		"error ambient-order kube-system/DaemonSet/istio-cni-node", "warning envoyfilters shop/EnvoyFilter/stops", "unknown envoyfilters shop/EnvoyFilter/no-anchor",
		"warning envoyfilters shop/EnvoyFilter/unknown-type", "warning gateway-selectors shop/Gateway/of-nothing", "warning behaviour-changes shop/WorkloadEntry/vm",
		"info gateway-tags shop/Gateway/tagged", "error istiod-quota istio-system/ResourceQuota/tight", "error istiod-rehearsal ", "error istiod-capacity ",
		"error istiod-anti-affinity istio-system/Deployment/istiod-1-30", "error gateway-api-version CustomResourceDefinition/tlsroutes.gateway.networking.k8s.io",
		"error ca-root istio-system/Secret/cacerts", "error ca-validity istio-system/Secret/cacerts", "warning native-sidecars ", "warning node-versions ",
		"warning lost-sidecar leaving/Deployment/leaver", "info not-injected late/Deployment/newcomer", "warning workload-health edge/Deployment/sick",
		"error injection-templates edge/Deployment/no-such-template",
		"warning gateway-ports edge/Deployment/unprivileged-gateway", "warning proxy-skew shop/Deployment/fragile",
		"error default-validator ValidatingWebhookConfiguration/istiod-default-validator", "error dead-webhooks ValidatingWebhookConfiguration/policy-that-is-gone",
	}
}

// startIsRefused tries to start an upgrade, and starts it all the same.
func startIsRefused(t *testing.T, l *labtest.Lab) {
	args := []string{"upgrade", "start", "--to", "1.31", "--revision", "canary", "--yes"}
	r := l.CLI(t, args...)
	if r.Code != 3 || !strings.Contains(r.Stderr, "is not started, because") || !strings.Contains(r.Stderr, "ca-root") {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	var ids []string
	for _, c := range preflight.Blocking(check(t, l, 3, "--to", "1.31", "--revision", "canary").Checks) {
		ids = append(ids, c.ID)
	}
	check(t, l, 0, "--to", "1.31", "--revision", "canary", "--ignore-check", strings.Join(ids, ","))
	if r := l.CLI(t, append(args, "--ignore-check", strings.Join(ids, ","))...); r.Code != 0 {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	u := &v1alpha1.ClusterUpgrade{}
	if err := l.Client.Get(t.Context(), client.ObjectKey{Name: "1-30-to-canary"}, u); err != nil {
		t.Fatal(err)
	}
	var recorded []string
	for _, c := range u.Spec.IgnoredChecks {
		if c.Findings < 1 || c.By == "" || c.At.IsZero() {
			t.Errorf("%+v", c)
		}
		recorded = append(recorded, c.ID)
	}
	if !slices.Equal(recorded, ids) {
		t.Errorf("recorded %q, want %q", recorded, ids)
	}
	if err := l.Client.Delete(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}

// check runs the command and reads its JSON.
func check(t *testing.T, l *labtest.Lab, code int, args ...string) preflight.Report {
	t.Helper()
	r := l.CLI(t, append([]string{"check", "-o", "json"}, args...)...)
	var report preflight.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != code {
		t.Fatalf("check %s: exit code %d, want %d; %v\n%s%s", args, r.Code, code, err, r.Stdout, r.Stderr)
	}
	return report
}

// found is every finding as "severity check object".
func found(r preflight.Report) []string {
	var out []string
	for _, c := range r.Checks {
		for _, f := range c.Findings {
			object := ""
			if f.Object != nil {
				object = f.Object.String()
			}
			out = append(out, string(f.Severity)+" "+f.Check+" "+object)
		}
	}
	return out
}

func contains(t *testing.T, r preflight.Report, want ...string) {
	t.Helper()
	list := found(r)
	for _, w := range want {
		if !slices.Contains(list, w) {
			t.Errorf("not found: %q", w)
		}
	}
	if t.Failed() {
		t.Logf("found:\n%s", strings.Join(list, "\n"))
	}
}

// authority is the certificate of a CA that ends soon, in PEM.
func authority(t *testing.T, valid time.Duration) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(valid), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
