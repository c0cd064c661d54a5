import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/react-query'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'
import type { operations } from '../../api/schema'

export type DataPlane = Schemas['DataPlane']
export type Target = Schemas['Target']
export type Rollout = Schemas['Rollout']
export type Cluster = Schemas['Cluster']
export type Query = NonNullable<operations['listDataPlanes']['parameters']['query']>
export type Decision = 'Retry' | 'Skip' | 'MoveBack'

/** The namespaces of a cluster that have data planes. */
export function useNamespaces(cluster: string, query: { search?: string; limit?: number; continue?: string } = {}) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'namespaces', query],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/namespaces', { params: { path: { cluster }, query }, signal })),
    placeholderData: keepPreviousData,
  })
}

/** Sidecars and gateways of a cluster. */
export function useDataPlanes(cluster: string, query: Query) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'dataplanes', query],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/dataplanes', { params: { path: { cluster }, query }, signal })),
    placeholderData: keepPreviousData,
  })
}

/** The newest rollouts of a cluster. */
export function useRollouts(cluster: string) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'rollouts'],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/rollouts', { params: { path: { cluster }, query: { limit: 20 } }, signal })),
  })
}

/** Everything that the words and filters let through, on all pages, and that can be upgraded now. */
export async function allUpgradeable(cluster: string, query: Query): Promise<DataPlane[]> {
  const all: DataPlane[] = []
  let next: string | undefined
  do {
    const page = await call(
      api.GET('/api/v1/clusters/{cluster}/dataplanes', { params: { path: { cluster }, query: { ...query, limit: 1000, continue: next } } }),
    )
    all.push(...page.items.filter((d) => d.upgradeable))
    next = page.continue
  } while (next)
  return all
}

export const keyOf = (d: Target) => `${d.namespace}/${d.kind ?? ''}/${d.name ?? ''}`
export const targetOf = ({ namespace, kind, name }: DataPlane): Target => ({ namespace, kind, name })

/** What can be asked for in a cluster. Each promise ends when the hub has said yes and the pages have read what is true now. */
export function useMoves(cluster: string) {
  const client = useQueryClient()
  const done = async (asked: Promise<Rollout>) => {
    await asked
    await client.invalidateQueries({ queryKey: keys.cluster(cluster) })
  }
  const one = (rollout: string) => ({ params: { path: { cluster, rollout } } })
  const base = '/api/v1/clusters/{cluster}/rollouts/{rollout}'
  return {
    start: (body: Schemas['NewRollout']) => done(call(api.POST('/api/v1/clusters/{cluster}/rollouts', { params: { path: { cluster } }, body }))),
    decide: (rollout: string, action: Decision, targets: Target[]) => done(call(api.POST(`${base}/decide`, { ...one(rollout), body: { action, targets } }))),
    pause: (rollout: string) => done(call(api.POST(`${base}/pause`, one(rollout)))),
    resume: (rollout: string) => done(call(api.POST(`${base}/resume`, one(rollout)))),
    stop: (rollout: string) => done(call(api.POST(`${base}/stop`, one(rollout)))),
  }
}
