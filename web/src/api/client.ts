import createClient from 'openapi-fetch'
import type { components, paths } from './schema'
import { Problem, problemOf } from './problem'

export type Schemas = components['schemas']

/** The API of the hub, typed by its OpenAPI document. Wrap calls in {@link call}. */
export const api = createClient<paths>({
  baseUrl: window.location.origin,
  credentials: 'same-origin',
  fetch: (request) => globalThis.fetch(request),
})

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** The answer of the hub, or the {@link Problem} thrown. */
export async function call<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>
  try {
    answer = await asked
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') {
      throw error
    }
    throw new Problem(0, error instanceof Error ? error.message : String(error))
  }
  if (!answer.response.ok) {
    throw problemOf(answer.error, answer.response.status, answer.response.statusText)
  }
  return answer.data as T
}
