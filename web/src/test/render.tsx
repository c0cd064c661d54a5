import { QueryClientProvider } from '@tanstack/react-query'
import { render } from '@testing-library/react'
import type { ReactNode } from 'react'
import { MemoryRouter } from 'react-router'
import { vi } from 'vitest'
import { PreferencesProvider } from '../preferences'
import { newQueryClient } from '../queries'

/** One request as the hub would get it. */
export interface Asked {
  method: string
  path: string
  query: URLSearchParams
  body: unknown
}

/** An answer that is not 200. */
export class Answer {
  readonly status: number
  readonly body: unknown
  constructor(status: number, body?: unknown) {
    this.status = status
    this.body = body
  }
}

/** A refusal of the hub. */
export const refusal = (sentence: string, status = 409) => new Answer(status, { status, title: 'Conflict', detail: sentence })

type Handler = (asked: Asked) => unknown

/**
 * The hub, played: handlers by "METHOD /path", without /api/v1. Each request is recorded in the list that it returns; one without a handler is
 * answered with 404.
 */
export function playHub(handlers: Record<string, Handler>): Asked[] {
  const log: Asked[] = []
  vi.stubGlobal('fetch', async (input: Request) => {
    const url = new URL(input.url)
    const text = await input.text()
    const asked: Asked = {
      method: input.method,
      path: url.pathname.replace('/api/v1', ''),
      query: url.searchParams,
      body: text === '' ? undefined : JSON.parse(text),
    }
    log.push(asked)
    const handler = handlers[`${asked.method} ${asked.path}`]
    const answer = handler ? handler(asked) : refusal(`no handler for ${asked.method} ${asked.path}`, 404)
    const { status, body } = answer instanceof Answer ? answer : { status: answer === undefined ? 204 : 200, body: answer }
    const type = status < 400 ? 'application/json' : 'application/problem+json'
    return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: { 'Content-Type': type } })
  })
  return log
}

/** Renders with all that a page needs, at an address. */
export function show(page: ReactNode, at = '/') {
  return render(
    <PreferencesProvider>
      <QueryClientProvider client={newQueryClient()}>
        <MemoryRouter initialEntries={[at]}>{page}</MemoryRouter>
      </QueryClientProvider>
    </PreferencesProvider>,
  )
}
