package survey

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/internal/preflight"
)

// certificates reads the certificates of the CA; keys are dropped at once. Without the right to read secrets the rest is still known.
func (l *look) certificates(ctx context.Context) error {
	cm := &corev1.ConfigMap{}
	err := l.client.Get(ctx, client.ObjectKey{Namespace: l.istio, Name: "istio-ca-root-cert"}, cm)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	ca := &l.facts.Certificates
	if err == nil {
		ca.Distributed, err = certificate(preflight.Object{Kind: "ConfigMap", Namespace: l.istio, Name: cm.Name}, []byte(cm.Data["root-cert.pem"]), nil)
		if err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name string
		into **preflight.Certificate
	}{{"cacerts", &ca.Plugged}, {"istio-ca-secret", &ca.SelfSigned}} {
		*s.into, err = l.secret(ctx, s.name)
		if apierrors.IsForbidden(err) {
			ca.Hidden = reason(err)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// secret reads the certificate in a secret of the CA; nil when there is none. The keys are those of
// https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/ and of secrets of the type kubernetes.io/tls.
func (l *look) secret(ctx context.Context, name string) (*preflight.Certificate, error) {
	s := &corev1.Secret{}
	if err := l.client.Get(ctx, client.ObjectKey{Namespace: l.istio, Name: name}, s); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	chain, root := s.Data["ca-cert.pem"], s.Data["root-cert.pem"]
	if len(chain) == 0 {
		chain, root = s.Data["tls.crt"], s.Data["ca.crt"]
	}
	if len(chain) == 0 {
		return nil, nil // made and not filled yet, or for something else
	}
	if len(root) == 0 {
		root = chain
	}
	return certificate(preflight.Object{Kind: "Secret", Namespace: l.istio, Name: name}, root, chain)
}

// certificate describes roots in PEM, and the chain that leads to them, if there is one.
func certificate(where preflight.Object, roots, chain []byte) (*preflight.Certificate, error) {
	out := &preflight.Certificate{Where: where}
	for n, text := range [][]byte{roots, chain} {
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("read the certificate in %s: %w", where, err)
			}
			if n == 0 {
				sum := sha256.Sum256(c.Raw)
				out.Roots = append(out.Roots, hex.EncodeToString(sum[:]))
			}
			if out.NotAfter.IsZero() || c.NotAfter.Before(out.NotAfter) {
				out.NotAfter = c.NotAfter
			}
		}
	}
	if len(out.Roots) == 0 {
		return nil, fmt.Errorf("there is no certificate in %s", where)
	}
	return out, nil
}
