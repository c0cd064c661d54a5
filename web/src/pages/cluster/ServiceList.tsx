/** A part of the page of a cluster. */
export function ServiceList() {
  return null
}
