package preflight

import (
	"fmt"
	"slices"
	"time"

	"meshlift.dev/meshlift/internal/gate"
)

// How long certificates of the CA have to last. An upgrade of a large mesh takes weeks, and a controller that renews an
// intermediate certificate may be at rest meanwhile.
const (
	caMinimum = 7 * 24 * time.Hour
	caWindow  = 30 * 24 * time.Hour
)

// caRoot compares the root that the new istiod will sign with to the one that running proxies trust. Istiod takes the secret cacerts
// when it starts, and istio-ca-secret without it.
func caRoot(f *Facts) []Finding {
	c := f.Certificates
	if c.Hidden != "" {
		return []Finding{general(Unknown, "The secrets of the CA cannot be read: "+c.Hidden+".", "Run it with credentials that may read the secrets cacerts and istio-ca-secret of the Istio namespace, or compare their roots with ConfigMap istio-ca-root-cert yourself.")}
	}
	next := c.Plugged
	if next == nil {
		next = c.SelfSigned
	}
	if next == nil || c.Distributed == nil {
		return []Finding{general(Info, "There is neither a secret cacerts nor istio-ca-secret, or no ConfigMap istio-ca-root-cert: certificates are signed elsewhere.", "Make sure that the new revision asks the same CA.")}
	}
	if slices.ContainsFunc(next.Roots, func(r string) bool { return slices.Contains(c.Distributed.Roots, r) }) {
		return nil
	}
	return []Finding{about(Error, next.Where,
		"The new istiod will sign with its root, and running proxies trust another one (ConfigMap istio-ca-root-cert): moved and unmoved workloads would refuse each other.",
		"Restart the old istiod so that it distributes this root, wait until every proxy has it, or put both roots into root-cert.pem; then upgrade.")}
}

func caValidity(f *Facts) []Finding {
	var out []Finding
	seen := false
	for _, c := range []*Certificate{f.Certificates.Plugged, f.Certificates.SelfSigned, f.Certificates.Distributed} {
		if c == nil || c == f.Certificates.SelfSigned && f.Certificates.Plugged != nil {
			continue // istio-ca-secret is not used beside cacerts
		}
		seen = true
		left := c.NotAfter.Sub(f.Now)
		switch {
		case left <= 0:
			out = append(out, about(Error, c.Where, fmt.Sprintf("Its certificate expired at %s.", c.NotAfter.UTC().Format(time.DateOnly)), "Renew the CA first."))
		case left < caMinimum:
			out = append(out, about(Error, c.Where, fmt.Sprintf("Its certificate ends in %s, at %s.", days(left), c.NotAfter.UTC().Format(time.DateOnly)), "Renew the CA before the upgrade."))
		case left < caWindow:
			out = append(out, about(Warning, c.Where, fmt.Sprintf("Its certificate ends in %s, at %s; an upgrade that takes long reaches that day.", days(left), c.NotAfter.UTC().Format(time.DateOnly)),
				"Renew it first, and see that what renews it is not stopped during the upgrade."))
		}
	}
	if f.Certificates.Hidden != "" {
		out = append(out, general(Unknown, "The secrets of the CA cannot be read: "+f.Certificates.Hidden+".", "Run it with credentials that may read the secrets cacerts and istio-ca-secret of the Istio namespace."))
	} else if !seen {
		out = append(out, general(Unknown, "No certificate of the CA was found.", "If another CA signs, check its certificates there."))
	}
	return out
}

func days(d time.Duration) string { return gate.Count(int(d.Hours()/24), "day") }
