// Package certs keeps the serving certificate of the agent's admission webhooks: it makes it, stores it in a Secret,
// renews it long before it expires, and tells the API server which authority to trust.
//
// Every replica of the agent runs a [Keeper]; there is no leader. They agree through the Secret: a write carries the
// resource version that was read, and who loses reads again. The order that makes a renewal invisible is
//
//	announce   a new authority and a new certificate are stored as "next"; the webhook configuration trusts both
//	           authorities from now on, and everybody still serves the old certificate
//	promote    after a settling time "next" becomes the certificate that is served; the old authority stays trusted
//	           until it expires
//
// The key of an authority signs one certificate and is then forgotten: it is never stored, so nobody can steal it.
//
// Why not github.com/open-policy-agent/cert-controller (v0.16.0, the well-kept library for this job): it needs the Secret
// mounted as a volume and waits for the kubelet to refresh it, replaces the authority without a time of double trust,
// overwrites webhook configurations by Update, stores the authority's key, and is built for controller-runtime v0.23.
package certs
