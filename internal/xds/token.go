package xds

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Lives of tokens that are asked for; the API server may give less or more, and never less than ten minutes.
const (
	tokenSeconds      = 3600
	shortTokenSeconds = 600
)

// tokens keeps one token until 80 % of its life have passed.
type tokens struct {
	kube      kubernetes.Interface
	namespace string
	account   string
	audience  string
	seconds   int64
	now       func() time.Time

	mu    sync.Mutex
	value string
	renew time.Time
}

// get returns a token that is not the refused one; "" refuses none.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.value != "" && t.value != refused && now.Before(t.renew) {
		return t.value, nil
	}
	got, err := t.kube.CoreV1().ServiceAccounts(t.namespace).CreateToken(ctx, t.account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{t.audience}, ExpirationSeconds: &t.seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get a token of service account %s/%s to ask istiod with: %w", t.namespace, t.account, err)
	}
	life := got.Status.ExpirationTimestamp.Sub(now)
	t.value, t.renew = got.Status.Token, now.Add(life*4/5)
	return t.value, nil
}
