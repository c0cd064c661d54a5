// Package helm is the only importer of the Helm SDK. It speaks the words of package release.
//
// Choices, each made for a reason that was seen on a real API server:
//
//   - Nothing is waited for but hooks (HookOnlyStrategy): whether istiod is ready is observed by the caller, level by
//     level, and not by a call that blocks. An action without any strategy fails after it has created the objects.
//   - New releases are applied from the client side. istiod rewrites caBundle and failurePolicy of its webhooks; charts up
//     to 1.27 render these fields, and a server-side apply then conflicts (https://github.com/istio/istio/issues/59367).
//     Releases of others are upgraded the way they were applied before ("auto").
//   - CRDs are never left to Helm: it neither upgrades those of a crds/ folder (charts up to 1.23), nor does a client-side
//     upgrade change CRDs that it adopts. The caller applies them, see [Client.Render].
//   - The schema of values is not enforced: several published charts refuse their own defaults with the current SDK.
//   - A run that died is taken over: a release that is "pending" is marked as failed, which is what it is, and then
//     upgraded over what is there. Objects are not deleted for it. A pending release of somebody else is left alone for
//     some minutes first.
//   - The field manager is always "helm", whatever the name of our binary: the manager "meshlift" owns other fields of the
//     same objects, and one manager for both would take away what the other applied.
package helm
