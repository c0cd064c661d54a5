package kubelet

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// longestTokenUse is after which a token is renewed even if it is valid for longer.
const longestTokenUse = 24 * time.Hour

// token is a service account token that is bound to a pod.
type token struct {
	text string
	due  time.Time // when it should be renewed
}

// get returns the token, a new one when it is time, and when the next renewal is due.
func (t *token) get(ctx context.Context, p *pod, s *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
	if t.text != "" && time.Now().Before(t.due) {
		return t.text, t.due, nil
	}
	object := p.latest()
	account := object.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: s.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: object.Name, UID: object.UID},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	answer, err := p.k.client.CoreV1().ServiceAccounts(object.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token of service account %s: %w", account, err)
	}
	lifetime := time.Until(answer.Status.ExpirationTimestamp.Time)
	t.text, t.due = answer.Status.Token, time.Now().Add(min(lifetime*8/10, longestTokenUse))
	return t.text, t.due, nil
}
