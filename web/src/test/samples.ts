import type { Schemas } from '../api/client'

export const yes: Schemas['Availability'] = { allowed: true }
export const no = (reason: string): Schemas['Availability'] => ({ allowed: false, reason })

export const session: Schemas['Session'] = { user: 'system:serviceaccount:people:ann', groups: ['system:authenticated'] }

/** A page of a list that is all of it. */
export const whole = <T>(items: T[]) => ({ items, total: items.length })

export const mesh = (changes: Partial<Schemas['Mesh']> = {}): Schemas['Mesh'] => ({
  name: 'prod',
  displayName: 'Production',
  clusters: 2,
  connected: 2,
  istioVersions: '1.30.0',
  ready: true,
  frozen: false,
  upgradeable: ['1.31'],
  ...changes,
})

const titles = ['non-Istio components', 'new istiod', 'EnvoyFilters', 'data planes', 'decommission']

/** The five steps by their states. */
export const steps = (...states: Schemas['Step']['state'][]): Schemas['Step'][] =>
  titles.map((title, n) => ({ number: n + 1, title, state: states[n] ?? 'Waiting' }))

export const cluster = (changes: Partial<Schemas['Cluster']> = {}): Schemas['Cluster'] => ({
  name: 'east',
  mesh: 'prod',
  connection: 'Connected',
  server: 'https://10.0.0.1:6443',
  kubernetes: '1.37.2',
  agent: '0.5.0',
  istioVersions: '1.30.0',
  revisions: [{ revision: '1-30', version: '1.30.0', sidecars: 12, gateways: 1, upgradeTo: ['1.31'] }],
  upgradeTo: ['1.31'],
  ready: true,
  componentsToUpgrade: 0,
  actions: {
    upgrade: yes,
    moveWorkloads: no('no upgrade runs in the cluster'),
    decommission: no('no upgrade runs in the cluster'),
    components: no('every component has the newest version'),
    envoyFilters: no('no upgrade runs in the cluster'),
    remove: yes,
  },
  ...changes,
})

/** An upgrade on its way. */
export const progress = (changes: Partial<Schemas['ClusterProgress']> = {}): Schemas['ClusterProgress'] => ({
  name: '1-30-to-1-31',
  from: '1.30.0',
  to: '1.31.0',
  steps: steps('Done', 'Done', 'Done', 'Active'),
  moved: 3,
  total: 9,
  finished: false,
  decommissionRequested: false,
  accepted: true,
  ...changes,
})

export const meshDetail = (changes: Partial<Schemas['MeshDetail']> = {}): Schemas['MeshDetail'] => ({
  ...mesh(),
  clusterList: [cluster(), cluster({ name: 'west' })],
  oldIstiods: [],
  history: [],
  actions: { upgrade: yes, addCluster: yes, sidecars: yes },
  ...changes,
})
