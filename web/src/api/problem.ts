import type { components } from './schema'

type Body = components['schemas']['Problem']
export type Verdict = components['schemas']['Verdict']

/** What the hub answered instead of what was asked for (RFC 9457); status 0 means that it did not answer. */
export class Problem extends Error {
  readonly status: number
  readonly verdict: Verdict | undefined

  constructor(status: number, sentence: string, verdict?: Verdict) {
    super(sentence)
    this.name = 'Problem'
    this.status = status
    this.verdict = verdict
  }

  /** Whether the hub could not be reached. */
  get unreachable() {
    return this.status === 0
  }
}

/** The problem in any answer, also in one that a proxy wrote. */
export function problemOf(body: unknown, status: number, statusText: string): Problem {
  if (typeof body === 'object' && body !== null) {
    const { detail, title, errors, verdict } = body as Body
    const places = (errors ?? []).map((e) => [e.location, e.message].filter(Boolean).join(': ')).filter(Boolean)
    return new Problem(status, [detail ?? title ?? statusText, ...places].join('; '), verdict)
  }
  return new Problem(status, `${status} ${statusText}`.trim())
}

/** Any error as a problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) {
    return error
  }
  return new Problem(0, error instanceof Error ? error.message : String(error))
}
