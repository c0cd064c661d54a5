/** A part of the page of a cluster. */
export function Components() {
  return null
}
