import type { Schemas } from './client'

/**
 * Keys of what was read. Everything about a mesh begins with ['mesh', name] and everything about a cluster with ['cluster', name],
 * so that one change tells what is old.
 */
export const keys = {
  session: ['session'] as const,
  loginOptions: ['loginOptions'] as const,
  meshes: ['meshes'] as const,
  clusters: ['clusters'] as const,
  mesh: (name: string) => ['mesh', name] as const,
  cluster: (name: string) => ['cluster', name] as const,
}

/** What is old after a change. */
export function outdatedBy(change: Schemas['Change']): readonly (readonly string[])[] {
  const old: (readonly string[])[] = [keys.meshes]
  if (change.mesh) {
    old.push(keys.mesh(change.mesh))
  }
  if (change.kind === 'Cluster') {
    old.push(keys.clusters, keys.cluster(change.name))
  }
  if (change.kind === 'Mesh') {
    old.push(keys.mesh(change.name), keys.clusters)
  }
  return old
}
