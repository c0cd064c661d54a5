/** A part of the page of a mesh. */
export function Waves() {
  return null
}
