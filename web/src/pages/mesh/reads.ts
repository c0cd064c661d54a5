import { useQuery, useQueryClient } from '@tanstack/react-query'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'

export type Cluster = Schemas['Cluster']
export type Mesh = Schemas['MeshDetail']
export type MeshUpgrade = Schemas['MeshUpgrade']

/** A duration of Go (https://pkg.go.dev/time#ParseDuration). */
const inMinutes = (n: number) => `${n}m0s`

/** What an upgrade of the cluster would be. */
export function useProposal(cluster: string, version?: string) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'proposal', version],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/proposal', { params: { path: { cluster }, query: { version } }, signal })),
  })
}

/** The upgrade of a cluster that runs, else the newest one. */
export function useUpgrade(cluster: string, enabled = true) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'upgrade'],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/upgrade', { params: { path: { cluster } }, signal })),
    enabled,
  })
}

/** The newest upgrade of a mesh; null when there was none. */
export function useMeshUpgrade(mesh: string) {
  return useQuery({
    queryKey: [...keys.mesh(mesh), 'upgrades'],
    queryFn: async ({ signal }) => {
      const page = await call(api.GET('/api/v1/meshes/{mesh}/upgrades', { params: { path: { mesh }, query: { limit: 1 } }, signal }))
      return page.items[0] ?? null
    },
  })
}

/** Ends when the hub has said yes and the pages have read what is true now. */
function useDone(...old: (readonly string[])[]) {
  const client = useQueryClient()
  return async (asked: Promise<unknown>) => {
    await asked
    await Promise.all(old.map((queryKey) => client.invalidateQueries({ queryKey })))
  }
}

/** What can be asked for in one cluster. */
export function useClusterActions({ name, mesh = '' }: Cluster) {
  const done = useDone(keys.cluster(name), keys.mesh(mesh))
  const path = { params: { path: { cluster: name } } }
  const base = '/api/v1/clusters/{cluster}/upgrade'
  return {
    start: (version: string) => done(call(api.POST(base, { ...path, body: { version } }))),
    pause: () => done(call(api.POST(`${base}/pause`, path))),
    resume: () => done(call(api.POST(`${base}/resume`, path))),
    decommission: (soak: number) => done(call(api.POST(`${base}/decommission`, { ...path, body: { soak: inMinutes(soak) } }))),
    withdraw: () => done(call(api.DELETE(`${base}/decommission`, path))),
    components: (body: Schemas['UpgradeComponentsRequest']) => done(call(api.POST('/api/v1/clusters/{cluster}/components/upgrade', { ...path, body }))),
  }
}

/** What can be asked for in a mesh as a whole. */
export function useMeshActions(mesh: string) {
  const done = useDone(keys.mesh(mesh))
  const one = (upgrade: string) => ({ params: { path: { upgrade } } })
  return {
    start: (body: Schemas['NewMeshUpgrade']) => done(call(api.POST('/api/v1/meshes/{mesh}/upgrades', { params: { path: { mesh } }, body }))),
    approve: (upgrade: string, wave: string) => done(call(api.POST('/api/v1/upgrades/{upgrade}/approve', { ...one(upgrade), body: { wave } }))),
    pause: (upgrade: string) => done(call(api.POST('/api/v1/upgrades/{upgrade}/pause', one(upgrade)))),
    resume: (upgrade: string) => done(call(api.POST('/api/v1/upgrades/{upgrade}/resume', one(upgrade)))),
    decommission: (upgrade: string, soak: number) => done(call(api.POST('/api/v1/upgrades/{upgrade}/decommission', { ...one(upgrade), body: { soak: inMinutes(soak) } }))),
  }
}
