/** The part of spec.sidecars that is for all pods, or for those of one namespace, as the CRD has it. */
export interface Settings {
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> }
  concurrency?: number
  logLevel?: string
  holdApplicationUntilProxyStarts?: boolean
  terminationDrainDuration?: string
  traffic?: Traffic
}

export interface Traffic {
  includeOutboundIPRanges?: string[]
  excludeOutboundIPRanges?: string[]
  includeInboundPorts?: number[]
  excludeInboundPorts?: number[]
  excludeOutboundPorts?: number[]
}

export interface Configuration extends Settings {
  namespaces?: (Settings & { namespace: string })[]
}

export const levels = ['trace', 'debug', 'info', 'warning', 'error', 'critical', 'off'] as const

/** A form of the settings: everything is text, and empty means "not set". */
export interface Fields {
  requestsCpu: string
  requestsMemory: string
  limitsCpu: string
  limitsMemory: string
  concurrency: string
  logLevel: string
  hold: string
  drain: string
  includeOutboundIPRanges: string
  excludeOutboundIPRanges: string
  includeInboundPorts: string
  excludeInboundPorts: string
  excludeOutboundPorts: string
}

export type Field = keyof Fields

const joined = (all: (string | number)[] | undefined) => (all ?? []).join(', ')
const split = (text: string) => text.split(/[\s,]+/).filter(Boolean)

export function fieldsOf(s: Settings): Fields {
  return {
    requestsCpu: s.resources?.requests?.cpu ?? '',
    requestsMemory: s.resources?.requests?.memory ?? '',
    limitsCpu: s.resources?.limits?.cpu ?? '',
    limitsMemory: s.resources?.limits?.memory ?? '',
    concurrency: s.concurrency === undefined ? '' : String(s.concurrency),
    logLevel: s.logLevel ?? '',
    hold: s.holdApplicationUntilProxyStarts === undefined ? '' : String(s.holdApplicationUntilProxyStarts),
    drain: s.terminationDrainDuration ?? '',
    includeOutboundIPRanges: joined(s.traffic?.includeOutboundIPRanges),
    excludeOutboundIPRanges: joined(s.traffic?.excludeOutboundIPRanges),
    includeInboundPorts: joined(s.traffic?.includeInboundPorts),
    excludeInboundPorts: joined(s.traffic?.excludeInboundPorts),
    excludeOutboundPorts: joined(s.traffic?.excludeOutboundPorts),
  }
}

const pattern: Partial<Record<Field, RegExp>> = {
  requestsCpu: /^[0-9.]+m?$/,
  limitsCpu: /^[0-9.]+m?$/,
  requestsMemory: /^[0-9.]+(k|M|G|Ki|Mi|Gi)?$/,
  limitsMemory: /^[0-9.]+(k|M|G|Ki|Mi|Gi)?$/,
  concurrency: /^([0-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-6])$/,
  drain: /^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/,
  includeInboundPorts: /^[0-9\s,]+$/,
  excludeInboundPorts: /^[0-9\s,]+$/,
  excludeOutboundPorts: /^[0-9\s,]+$/,
}

/** Fields that cannot be meant; the API server checks everything again. */
export function wrong(f: Fields): Field[] {
  return (Object.keys(pattern) as Field[]).filter((name) => f[name].trim() !== '' && !pattern[name]?.test(f[name].trim()))
}

/** An object without what is not set; undefined when nothing is. */
function set<T extends object>(all: T): T | undefined {
  const left = Object.entries(all).filter(([, v]) => v !== undefined && v !== '' && !(Array.isArray(v) && v.length === 0))
  return left.length === 0 ? undefined : (Object.fromEntries(left) as T)
}

/** Writes the fields over what was there, so that what the form does not show stays. */
export function settingsOf(f: Fields, before: Settings): Settings {
  const of = (name: Field) => f[name].trim()
  const ports = (name: Field) => split(of(name)).map(Number)
  const amounts = (old: Record<string, string> | undefined, cpu: Field, memory: Field) => set({ ...old, cpu: of(cpu), memory: of(memory) })
  return {
    ...before,
    resources: set({
      requests: amounts(before.resources?.requests, 'requestsCpu', 'requestsMemory'),
      limits: amounts(before.resources?.limits, 'limitsCpu', 'limitsMemory'),
    }),
    concurrency: of('concurrency') === '' ? undefined : Number(of('concurrency')),
    logLevel: of('logLevel') || undefined,
    holdApplicationUntilProxyStarts: of('hold') === '' ? undefined : of('hold') === 'true',
    terminationDrainDuration: of('drain') || undefined,
    traffic: set({
      includeOutboundIPRanges: split(of('includeOutboundIPRanges')),
      excludeOutboundIPRanges: split(of('excludeOutboundIPRanges')),
      includeInboundPorts: ports('includeInboundPorts'),
      excludeInboundPorts: ports('excludeInboundPorts'),
      excludeOutboundPorts: ports('excludeOutboundPorts'),
    }),
  }
}
