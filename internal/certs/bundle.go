package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// How long things live.
const (
	// Lifetime of a certificate and of its authority.
	Lifetime = 365 * 24 * time.Hour
	// RenewBefore is how long before the end a new certificate is announced.
	RenewBefore = Lifetime / 3
	// Settle is the time between the announcement of a new authority and the first use of its certificate. It covers
	// every API server's watch of the webhook configuration and every other replica's next look at the Secret.
	Settle = 10 * time.Minute
	// skew is how far a certificate's start lies in the past, for clocks that go slow.
	skew = time.Hour
)

// Bundle is the content of the Secret. All fields are PEM.
type Bundle struct {
	// Cert and Key are served.
	Cert, Key []byte
	// NextCert and NextKey are announced and not served yet; empty most of the time.
	NextCert, NextKey []byte
	// Trusted are the certificates of all authorities that the API server should trust.
	Trusted []byte
}

// Renew returns the bundle that should be stored instead of b, and the time at which to look again. The result is equal
// to b when nothing has to change. A bundle that cannot be served (empty, damaged, expired, for another name) is
// replaced at once, without an announcement: nothing works that could be disturbed.
func Renew(b Bundle, dnsName string, now time.Time) (Bundle, time.Time, error) {
	served, err := b.leaf(dnsName, now)
	if err != nil {
		fresh, err := issue(dnsName, now)
		if err != nil {
			return b, now, err
		}
		fresh.Trusted = join(fresh.Trusted, unexpired(b.Trusted, now))
		return fresh, now.Add(Lifetime - RenewBefore), nil
	}
	renewAt := served.NotAfter.Add(-RenewBefore)
	if now.Before(renewAt) {
		b.NextCert, b.NextKey, b.Trusted = nil, nil, unexpired(b.Trusted, now)
		return b, renewAt, nil
	}
	next, err := Bundle{Cert: b.NextCert, Key: b.NextKey, Trusted: b.Trusted}.leaf(dnsName, now)
	if err != nil {
		fresh, err := issue(dnsName, now)
		if err != nil {
			return b, now, err
		}
		b.NextCert, b.NextKey = fresh.Cert, fresh.Key
		b.Trusted = join(unexpired(b.Trusted, now), fresh.Trusted)
		return b, now.Add(Settle), nil
	}
	if promoteAt := next.NotBefore.Add(skew + Settle); now.Before(promoteAt) {
		return b, promoteAt, nil
	}
	b.Cert, b.Key, b.NextCert, b.NextKey = b.NextCert, b.NextKey, nil, nil
	return b, next.NotAfter.Add(-RenewBefore), nil
}

// Equal tells whether two bundles are the same.
func (b Bundle) Equal(o Bundle) bool {
	return bytes.Equal(b.Cert, o.Cert) && bytes.Equal(b.Key, o.Key) && bytes.Equal(b.NextCert, o.NextCert) &&
		bytes.Equal(b.NextKey, o.NextKey) && bytes.Equal(b.Trusted, o.Trusted)
}

// leaf returns the served certificate if a client that trusts b.Trusted would accept it for the name now.
func (b Bundle) leaf(dnsName string, now time.Time) (*x509.Certificate, error) {
	pair, err := tls.X509KeyPair(b.Cert, b.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.Trusted)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, CurrentTime: now})
	if err != nil {
		return nil, fmt.Errorf("verify certificate: %w", err)
	}
	return pair.Leaf, nil
}

// issue makes an authority and one certificate signed by it, and forgets the authority's key.
func issue(dnsName string, now time.Time) (Bundle, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Bundle{}, fmt.Errorf("draw serial number: %w", err)
	}
	authority := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: fmt.Sprintf("meshlift-webhook-ca-%x", serial)},
		NotBefore: now.Add(-skew), NotAfter: now.Add(Lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: new(big.Int).Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: dnsName}, DNSNames: []string{dnsName},
		NotBefore: now.Add(-skew), NotAfter: now.Add(Lifetime),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Bundle{}, fmt.Errorf("generate key of authority: %w", err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Bundle{}, fmt.Errorf("generate key: %w", err)
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return Bundle{}, fmt.Errorf("sign authority: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, leafKey.Public(), authorityKey)
	if err != nil {
		return Bundle{}, fmt.Errorf("sign certificate for %q: %w", dnsName, err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return Bundle{}, fmt.Errorf("encode key: %w", err)
	}
	return Bundle{
		Cert:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER}),
		Key:     pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		Trusted: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER}),
	}, nil
}

// unexpired returns the certificates of a PEM bundle that are still valid, in order; what is no certificate is dropped.
func unexpired(bundle []byte, now time.Time) []byte {
	var out []byte
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && now.Before(c.NotAfter) {
			out = append(out, pem.EncodeToMemory(block)...)
		}
	}
	return out
}

// join makes a new bundle of two; append would write into the first one's array.
func join(a, b []byte) []byte { return bytes.Join([][]byte{a, b}, nil) }
