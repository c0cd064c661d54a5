/** A part of the page of a mesh. */
export function Deployment() {
  return null
}
