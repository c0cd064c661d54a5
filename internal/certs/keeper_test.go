package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func configuration() *admissionv1.ValidatingWebhookConfiguration {
	none := admissionv1.SideEffectClassNone
	entry := func(name string) admissionv1.ValidatingWebhook {
		return admissionv1.ValidatingWebhook{Name: name, SideEffects: &none, AdmissionReviewVersions: []string{"v1"}}
	}
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "meshlift"},
		Webhooks:   []admissionv1.ValidatingWebhook{entry("a.meshlift.dev"), entry("b.meshlift.dev")},
	}
}

func keeper(c client.Client, clock *testingclock.FakeClock) *Keeper {
	return New(Options{
		Client: c, Reader: c, Namespace: "cpaas-system", Secret: "meshlift-webhook-cert", Service: "asm-controller-webhook",
		Webhook: "meshlift", Clock: clock, Log: logr.Discard(),
	})
}

func trusted(t *testing.T, c client.Client) []byte {
	t.Helper()
	have := &admissionv1.ValidatingWebhookConfiguration{}
	if err := c.Get(context.Background(), client.ObjectKey{Name: "meshlift"}, have); err != nil {
		t.Fatal(err)
	}
	for _, w := range have.Webhooks {
		if string(w.ClientConfig.CABundle) != string(have.Webhooks[0].ClientConfig.CABundle) {
			t.Fatal("the entries trust different authorities")
		}
	}
	return have.Webhooks[0].ClientConfig.CABundle
}

func served(t *testing.T, k *Keeper) *tls.Certificate {
	t.Helper()
	c, err := k.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheKeeperServesNothingUntilTheAPIServerWasToldToTrustIt(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	k := keeper(fake.NewClientBuilder().WithScheme(scheme.Scheme).Build(), clock)
	_, err := k.Ensure(context.Background())
	if err == nil || !strings.Contains(err.Error(), "ValidatingWebhookConfiguration") {
		t.Fatalf("error %v, want one about the missing configuration", err)
	}
	if err := k.Check(nil); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("readiness says %v, want ErrNoCertificate", err)
	}
}

func TestTwoReplicasAgreeOnOneCertificateThroughARenewal(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(configuration()).Build()
	a, b := keeper(c, clock), keeper(c, clock)
	agree := func() *tls.Certificate {
		t.Helper()
		for _, k := range []*Keeper{a, b} {
			if _, err := k.Ensure(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		one, two := served(t, a), served(t, b)
		if string(one.Certificate[0]) != string(two.Certificate[0]) {
			t.Fatal("the replicas serve different certificates")
		}
		if _, err := fromPair(t, c).leaf(name, clock.Now()); err != nil {
			t.Fatalf("the API server does not trust what is served: %v", err)
		}
		return one
	}
	first := agree()
	clock.Step(Lifetime - RenewBefore)
	if string(agree().Certificate[0]) != string(first.Certificate[0]) {
		t.Fatal("the new certificate was served without an announcement")
	}
	clock.Step(Settle)
	if string(agree().Certificate[0]) == string(first.Certificate[0]) {
		t.Fatal("the certificate was not renewed")
	}
}

// fromPair is what the Secret serves together with what the configuration trusts.
func fromPair(t *testing.T, c client.Client) Bundle {
	t.Helper()
	s := &corev1.Secret{}
	if err := c.Get(context.Background(), client.ObjectKey{Namespace: "cpaas-system", Name: "meshlift-webhook-cert"}, s); err != nil {
		t.Fatal(err)
	}
	b := fromSecret(s)
	b.Trusted = trusted(t, c)
	return b
}

func TestTheReplicaThatLosesTheRaceTakesTheOthersCertificate(t *testing.T) {
	for what, empty := range map[string]bool{"a missing Secret": false, "the chart's empty Secret": true} {
		t.Run(what, func(t *testing.T) {
			clock := testingclock.NewFakeClock(start)
			objects := []client.Object{configuration()}
			if empty {
				objects = append(objects, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "meshlift-webhook-cert"}})
			}
			inner := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects...).Build()
			winner := keeper(inner, clock)
			raced := false
			race := func(ctx context.Context) {
				if raced {
					return
				}
				raced = true
				if _, err := winner.Ensure(ctx); err != nil {
					t.Fatal(err)
				}
			}
			loser := keeper(interceptor.NewClient(inner, interceptor.Funcs{
				Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
					race(ctx)
					return c.Create(ctx, o, opts...)
				},
				Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
					race(ctx)
					return c.Update(ctx, o, opts...)
				},
			}), clock)
			if _, err := loser.Ensure(context.Background()); err != nil {
				t.Fatal(err)
			}
			if !raced || string(served(t, loser).Certificate[0]) != string(served(t, winner).Certificate[0]) {
				t.Errorf("the replicas disagree (raced: %v)", raced)
			}
		})
	}
}

func TestADeletedBundleIsRepaired(t *testing.T) {
	clock := testingclock.NewFakeClock(start)
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(configuration()).Build()
	k := keeper(c, clock)
	if _, err := k.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := trusted(t, c)
	reset := configuration()
	stored := &admissionv1.ValidatingWebhookConfiguration{}
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(reset), stored); err != nil {
		t.Fatal(err)
	}
	reset.ResourceVersion = stored.ResourceVersion
	if err := c.Update(context.Background(), reset); err != nil {
		t.Fatal(err)
	}
	if got := trusted(t, c); got != nil {
		t.Fatalf("the test did not remove the bundle: %q", got)
	}
	wait, err := k.Ensure(context.Background())
	if err != nil || wait > resync {
		t.Fatalf("wait %v, error %v", wait, err)
	}
	if string(trusted(t, c)) != string(want) {
		t.Error("the bundle was not put back")
	}
}

func TestAnEventHasTheKeeperRepairAtOnceWhatItWouldFindLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientBuilder().WithObjects(configuration()).Build()
		k := keeper(c, nil)
		k.o.Clock = clock.RealClock{} // that of the bubble, which stands still here
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Start(ctx) }()
		synctest.Wait()
		w := configuration()
		if err := c.Get(ctx, client.ObjectKeyFromObject(w), w); err != nil || len(trusted(t, c)) == 0 {
			t.Fatalf("nothing is trusted: %v", err)
		}
		for n := range w.Webhooks {
			w.Webhooks[n].ClientConfig.CABundle = nil
		}
		if err := c.Update(ctx, w); err != nil {
			t.Fatal(err)
		}
		k.Look()
		k.Look()
		synctest.Wait()
		if len(trusted(t, c)) == 0 {
			t.Error("nothing is trusted after the event")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
