/** A part of the page of a cluster. */
export function Gateways() {
  return null
}
