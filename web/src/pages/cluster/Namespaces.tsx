/** A part of the page of a cluster. */
export function Namespaces() {
  return null
}
