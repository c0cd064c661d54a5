import type { Cluster, DataPlane, Rollout } from './reads'

const yes = { allowed: true }

/** A cluster in step 4 of an upgrade, for tests. */
export const cluster: Cluster = {
  name: 'east',
  mesh: 'shop',
  connection: 'Connected',
  ready: true,
  revisions: [],
  upgradeTo: [],
  componentsToUpgrade: 0,
  upgrade: { name: 'up', from: '1.30.0', to: '1.31.0', steps: [], moved: 0, total: 2, finished: false, decommissionRequested: false, accepted: true },
  actions: { upgrade: yes, moveWorkloads: yes, decommission: yes, components: yes, envoyFilters: yes, remove: yes },
}

/** A service that can be upgraded, for tests. */
export const plane = (name: string, more: Partial<DataPlane> = {}): DataPlane => ({
  namespace: 'books',
  kind: 'Deployment',
  name,
  role: 'Sidecar',
  version: '1.30.0',
  state: 'Pending',
  pods: 2,
  movedPods: 0,
  upgradeable: true,
  moveBack: false,
  warnings: [],
  ...more,
})

/** A rollout that goes on, for tests. */
export const rollout = (more: Partial<Rollout> = {}): Rollout => ({
  name: 'up-r1',
  upgrade: 'up',
  direction: 'Forward',
  targets: [],
  created: '2026-11-26T12:00:00Z',
  paused: false,
  stopped: false,
  complete: false,
  waits: false,
  total: 4,
  done: 1,
  moving: 1,
  failed: 0,
  skipped: 0,
  pending: 2,
  inMotion: [],
  failures: [],
  ...more,
})
