import { keepPreviousData, useQuery } from '@tanstack/react-query'
import { api, call } from './client'
import { keys } from './keys'

/** The meshes that the user may see. */
export function useMeshes(query: { search?: string; limit?: number; continue?: string } = {}) {
  return useQuery({
    queryKey: [...keys.meshes, query],
    queryFn: ({ signal }) => call(api.GET('/api/v1/meshes', { params: { query }, signal })),
    placeholderData: keepPreviousData,
  })
}

/** Clusters that the user may see. */
export function useClusters(query: { search?: string; mesh?: string; limit?: number } = {}, enabled = true) {
  return useQuery({
    queryKey: [...keys.clusters, query],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters', { params: { query }, signal })),
    placeholderData: keepPreviousData,
    enabled,
  })
}

/** Everything about one mesh. */
export function useMesh(mesh: string) {
  return useQuery({
    queryKey: keys.mesh(mesh),
    queryFn: ({ signal }) => call(api.GET('/api/v1/meshes/{mesh}', { params: { path: { mesh } }, signal })),
  })
}

/** One cluster. */
export function useCluster(cluster: string) {
  return useQuery({
    queryKey: keys.cluster(cluster),
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}', { params: { path: { cluster } }, signal })),
  })
}
