import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'
import type { operations } from '../../api/schema'

export type EnvoyFilter = Schemas['EnvoyFilter']
export type Query = NonNullable<operations['listEnvoyFilters']['parameters']['query']>

/** The EnvoyFilters of all clusters of a mesh. */
export function useEnvoyFilters(mesh: string, query: Query) {
  return useQuery({
    queryKey: [...keys.mesh(mesh), 'envoyfilters', query],
    queryFn: ({ signal }) => call(api.GET('/api/v1/meshes/{mesh}/envoyfilters', { params: { path: { mesh }, query }, signal })),
    placeholderData: keepPreviousData,
  })
}

/** One EnvoyFilter with its content. */
export function useEnvoyFilter({ cluster, namespace, name }: Place) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'envoyfilter', namespace, name],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/envoyfilters/{namespace}/{name}', { params: { path: { cluster, namespace, name } }, signal })),
  })
}

/** Where an EnvoyFilter is. */
export type Place = Pick<EnvoyFilter, 'cluster' | 'namespace' | 'name'>

export const written = (p: Place) => `${p.cluster}/${p.namespace}/${p.name}`

/** The place in an address; undefined when it is none. */
export function placeIn(text: string | undefined): Place | undefined {
  const [cluster, namespace, name] = text?.split('/') ?? []
  return cluster && namespace && name ? { cluster, namespace, name } : undefined
}
