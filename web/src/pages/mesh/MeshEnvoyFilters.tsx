/** A part of the page of a mesh. */
export function MeshEnvoyFilters() {
  return null
}
