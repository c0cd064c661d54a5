// Package values carries the Helm values of an old istiod revision over to the chart of a new one, and says of every one
// of them what became of it: carried, changed or not carried. Nothing is lost silently.
//
// What users of Istio write into values follows a few conventions that differ between versions:
//
//   - From 1.24 on the chart takes what used to be below "pilot" at the top level and still accepts "pilot"
//     (templates/zzy_descope_legacy.yaml); before, only "pilot" counts. The shape of the new chart's defaults tells.
//   - "istio_cni" (up to 1.23) is "pilot.cni" later.
//   - Which revision, tag or validator a release serves belongs to the release and not to the mesh. Carrying it over
//     would move traffic at the moment of the installation.
//
// A key is known to the new chart when its default values have it, or when one of its templates mentions it. Other keys
// are left out and reported: the chart would ignore them, and so would a reader who believes that they still work.
package values
