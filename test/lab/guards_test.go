package lab

import (
	"context"
	"fmt"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// guardsAreRepaired edits one guard and deletes the binding of another. Nothing but the event tells the agent.
func (c *cluster) guardsAreRepaired(t *testing.T) {
	policy := func(ctx context.Context) (*admissionv1.ValidatingAdmissionPolicy, error) {
		p := &admissionv1.ValidatingAdmissionPolicy{}
		return p, c.Client.Get(ctx, client.ObjectKey{Name: handover.MovedGuard}, p)
	}
	p, err := policy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := p.Spec.Validations[0].Expression
	p.Spec.Validations[0].Expression = "true"
	if err := c.Client.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: handover.BareGuard + "-revision"}}
	if err := c.Client.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	labtest.Eventually(t, "the guards are back", func(ctx context.Context) string {
		if p, err := policy(ctx); err != nil || p.Spec.Validations[0].Expression != want {
			return fmt.Sprintf("the guard of moved pods is not: %v", err)
		}
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(binding), binding); err != nil {
			return err.Error()
		}
		return ""
	})
	t.Logf("the guards were back after %s", time.Since(began).Round(time.Millisecond))
}
