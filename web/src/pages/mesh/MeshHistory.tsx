/** A part of the page of a mesh. */
export function MeshHistory() {
  return null
}
