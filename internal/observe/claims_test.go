package observe

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// server plays an API server.
type server struct {
	kinds []string
	err   error
	asked int
}

func (s *server) ServerVersion() (*version.Info, error) {
	s.asked++
	return &version.Info{GitVersion: "v1.36.1"}, nil
}

func (s *server) ServerResourcesForGroupVersion(groupVersion string) (*metav1.APIResourceList, error) {
	if groupVersion != "admissionregistration.k8s.io/v1" {
		return nil, errors.New("asked for " + groupVersion)
	}
	list := &metav1.APIResourceList{}
	for _, k := range s.kinds {
		list.APIResources = append(list.APIResources, metav1.APIResource{Kind: k})
	}
	return list, s.err
}

func TestARevisionIsChosenAtAdmissionWhereTheAPIServerServesThePoliciesForIt(t *testing.T) {
	for name, c := range map[string]struct {
		kinds   []string
		options []Option
		want    bool
	}{
		"served":                           {[]string{"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"}, nil, true},
		"not served, whatever its version": {[]string{"ValidatingAdmissionPolicy"}, nil, false},
		"served, but nobody writes them":   {[]string{"MutatingAdmissionPolicy"}, []Option{WithoutClaims()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
				t.Fatal(err)
			}
			o := New(fake.NewClientBuilder().WithScheme(scheme).Build(), "istio-system", append(c.options, WithDiscovery(&server{kinds: c.kinds}))...)
			inv, err := o.Inventory(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if inv.Claimable != c.want || inv.KubernetesVersion != "v1.36.1" {
				t.Errorf("claimable %v on %s, want %v", inv.Claimable, inv.KubernetesVersion, c.want)
			}
		})
	}
}

func TestWhatTheAPIServerSaysIsBelievedForAMinuteAndAnErrorNotAtAll(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(0, 0))
	m, s := newMemory(clock), &server{err: errors.New("away")}
	if _, err := m.ask(s); err == nil {
		t.Fatal("no error")
	}
	s.err, s.kinds = nil, []string{"MutatingAdmissionPolicy"}
	for range 2 {
		if a, err := m.ask(s); err != nil || !a.claimable {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	clock.SetTime(time.Unix(61, 0))
	if _, err := m.ask(s); err != nil || s.asked != 3 {
		t.Errorf("%v, asked %d times", err, s.asked)
	}
}
