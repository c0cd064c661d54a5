import { QueryClient, QueryObserver } from '@tanstack/react-query'
import { beforeEach, afterEach, expect, test, vi } from 'vitest'
import { gather, Live, retry, silence, type Connection, type Source } from './live'

class Played implements Source {
  readyState = 1
  onopen: (() => void) | null = null
  onerror: (() => void) | null = null
  closed = false
  private readonly listeners = new Map<string, (e: MessageEvent<string>) => void>()
  addEventListener(type: string, listener: (e: MessageEvent<string>) => void) {
    this.listeners.set(type, listener)
  }
  close() {
    this.closed = true
  }
  say(type: string, data: unknown) {
    this.listeners.get(type)?.(new MessageEvent(type, { data: JSON.stringify(data) }))
  }
}

let sources: Played[]
let said: Connection[]
let queries: QueryClient
let live: Live

/** The connection that is open now. */
const source = () => {
  const s = sources.at(-1)
  if (!s) {
    throw new Error('nothing was opened')
  }
  return s
}

beforeEach(() => {
  vi.useFakeTimers()
  sources = []
  said = []
  queries = new QueryClient()
  live = new Live({
    open: () => {
      sources.push(new Played())
      return source()
    },
    queries,
    onConnection: (c) => said.push(c),
  })
  live.start()
})

afterEach(() => {
  live.stop()
  queries.clear()
  vi.useRealTimers()
})

/** How often the query with the key is read while somebody looks at it. */
function watched(queryKey: string[], read: () => Promise<unknown> = () => Promise.resolve(1)) {
  const queryFn = vi.fn(read)
  new QueryObserver(queries, { queryKey, queryFn }).subscribe(() => undefined)
  return queryFn
}

test('many changes of one cluster are one reading of what is about it, and of nothing else', async () => {
  const east = watched(['cluster', 'east', 'dataplanes'])
  const west = watched(['cluster', 'west'])
  await vi.advanceTimersByTimeAsync(1)
  for (let n = 0; n < 20; n++) {
    source().say('change', { kind: 'Cluster', name: 'east', mesh: 'prod' })
  }
  await vi.advanceTimersByTimeAsync(gather + 1)
  expect(east).toHaveBeenCalledTimes(2)
  expect(west).toHaveBeenCalledTimes(1)
})

test('a change during a reading is read when that has ended', async () => {
  let end: (v: unknown) => void = () => undefined
  const east = watched(['cluster', 'east'], () => new Promise((resolve) => (end = resolve)))
  source().say('change', { kind: 'Cluster', name: 'east' })
  await vi.advanceTimersByTimeAsync(5 * gather)
  expect(east).toHaveBeenCalledTimes(1)
  end(1)
  await vi.advanceTimersByTimeAsync(2 * gather)
  expect(east).toHaveBeenCalledTimes(2)
})

test('a resync reads everything', async () => {
  const all = [watched(['meshes']), watched(['cluster', 'west'])]
  await vi.advanceTimersByTimeAsync(1)
  source().say('resync', { reason: 'events were missed' })
  await vi.advanceTimersByTimeAsync(gather + 1)
  all.forEach((q) => expect(q).toHaveBeenCalledTimes(2))
})

test('a connection that the browser gave up is opened again', async () => {
  source().readyState = 2
  source().onerror?.()
  expect(said.at(-1)).toBe('lost')
  await vi.advanceTimersByTimeAsync(retry + 1)
  expect(sources).toHaveLength(2)
  source().onopen?.()
  expect(said.at(-1)).toBe('live')
})

test('silence is a lost connection', async () => {
  source().say('alive', {})
  expect(said.at(-1)).toBe('live')
  await vi.advanceTimersByTimeAsync(silence + 1)
  expect(said.at(-1)).toBe('lost')
  expect(sources[0]?.closed).toBe(true)
  expect(sources).toHaveLength(2)
})
