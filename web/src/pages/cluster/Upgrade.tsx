/** A part of the page of a cluster. */
export function Upgrade() {
  return null
}
