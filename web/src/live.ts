import type { QueryClient, QueryKey } from '@tanstack/react-query'
import type { Schemas } from './api/client'
import { outdatedBy } from './api/keys'

/** Where the connection with the hub stands. refused: the hub answered that nobody is logged in. */
export type Connection = 'connecting' | 'live' | 'lost'

/** The part of EventSource that is used. */
export interface Source {
  readonly readyState: number
  onopen: ((e: Event) => void) | null
  onerror: ((e: Event) => void) | null
  addEventListener(type: string, listener: (e: MessageEvent<string>) => void): void
  close(): void
}

export interface Options {
  open: () => Source
  queries: QueryClient
  onConnection: (c: Connection) => void
}

/** Changes that come within this time (ms) are one reading. */
export const gather = 300
/** The server says something every 15 s; after this time (ms) without a word the connection is taken for lost. */
export const silence = 40_000
/** Time (ms) before the connection is tried again when the browser gave up. */
export const retry = 3_000

/**
 * Live reads again what changed, as the hub's events tell: one reading of each thing at a time, so that many changes of a large list
 * cost one reading after the other and the last one always sees the last change.
 */
export class Live {
  private readonly o: Options
  private source: Source | undefined
  private readonly old = new Map<string, QueryKey>()
  private flushing: ReturnType<typeof setTimeout> | undefined
  private watchdog: ReturnType<typeof setTimeout> | undefined
  private retrying: ReturnType<typeof setTimeout> | undefined

  constructor(options: Options) {
    this.o = options
  }

  /** Opens the connection, also anew. */
  start() {
    this.stop()
    const source = this.o.open()
    this.source = source
    source.onopen = () => this.heard('live')
    source.onerror = () => {
      this.o.onConnection('lost')
      if (source.readyState === 2) {
        this.again()
      }
    }
    source.addEventListener('change', (e) => {
      this.heard('live')
      outdatedBy(JSON.parse(e.data) as Schemas['Change']).forEach((key) => this.outdated(key))
    })
    source.addEventListener('resync', () => {
      this.heard('live')
      this.outdated([])
    })
    source.addEventListener('alive', () => this.heard('live'))
    this.expect()
  }

  /** Closes the connection. */
  stop() {
    this.source?.close()
    this.source = undefined
    for (const timer of [this.watchdog, this.retrying, this.flushing]) {
      clearTimeout(timer)
    }
    this.flushing = undefined
  }

  private heard(c: Connection) {
    this.o.onConnection(c)
    this.expect()
  }

  private expect() {
    clearTimeout(this.watchdog)
    this.watchdog = setTimeout(() => {
      this.o.onConnection('lost')
      this.start()
    }, silence)
  }

  private again() {
    clearTimeout(this.retrying)
    this.retrying = setTimeout(() => this.start(), retry)
  }

  private outdated(key: QueryKey) {
    this.old.set(JSON.stringify(key), key)
    this.flushing ??= setTimeout(() => this.flush(), gather)
  }

  private flush() {
    this.flushing = undefined
    for (const [id, queryKey] of this.old) {
      if (this.o.queries.isFetching({ queryKey }) === 0) {
        this.old.delete(id)
        void this.o.queries.invalidateQueries({ queryKey })
      }
    }
    if (this.old.size > 0) {
      this.flushing = setTimeout(() => this.flush(), gather)
    }
  }
}
