/** A part of the page of a mesh. */
export function MeshNamespaces() {
  return null
}
