package cli

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func TestAWriteWaitsForAnAgentThatRestartsAndForNothingElse(t *testing.T) {
	away := apierrors.NewInternalError(errors.New(`failed calling webhook "dataplanerollouts.meshlift.dev": failed to call webhook: connection refused`))
	other := apierrors.NewInternalError(errors.New(`failed calling webhook "policy.example.com": failed to call webhook: connection refused`))
	refused := apierrors.NewForbidden(corev1.Resource("configmaps"), "a", errors.New("denied by dataplanerollouts.meshlift.dev"))
	for name, tt := range map[string]struct {
		answers []error
		calls   int
		err     error
	}{
		"it is back":                 {[]error{away, away, nil}, 3, nil},
		"it stays away":              {[]error{away, away, away, away}, 4, away},
		"somebody else's is away":    {[]error{other}, 1, other},
		"it answers, and refuses":    {[]error{refused}, 1, refused},
		"it is back, and refuses":    {[]error{away, refused}, 2, refused},
		"nobody was away in between": {[]error{nil}, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			answer := func() error {
				calls++
				return tt.answers[calls-1]
			}
			behind := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return answer() },
				Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return answer() },
				Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
					return answer()
				},
			})
			c := patient(behind, wait.Backoff{Steps: 4})
			o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
			for _, write := range []func() error{
				func() error { return c.Create(t.Context(), o) },
				func() error { return c.Update(t.Context(), o) },
				func() error { return c.Patch(t.Context(), o, client.MergeFrom(o)) },
			} {
				calls = 0
				if err := write(); !errors.Is(err, tt.err) || calls != tt.calls {
					t.Errorf("%v after %d calls", err, calls)
				}
			}
		})
	}
}
