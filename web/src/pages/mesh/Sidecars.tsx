/** A part of the page of a mesh. */
export function Sidecars() {
  return null
}
