import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query'
import { keys } from './api/keys'
import { asProblem } from './api/problem'

/** Reads again only what is worth it: a refusal stays one. */
function worthRetrying(failures: number, error: unknown) {
  const { status } = asProblem(error)
  return failures < 2 && (status === 0 || status === 429 || status === 503)
}

/** A session that ended shows in any answer; the pages then ask to log in. */
export function newQueryClient(): QueryClient {
  const ended = (error: unknown) => {
    if (asProblem(error).status === 401) {
      client.setQueryData(keys.session, null)
    }
  }
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({ onError: ended }),
    mutationCache: new MutationCache({ onError: ended }),
    defaultOptions: {
      queries: { retry: worthRetrying, staleTime: 5_000, refetchOnWindowFocus: true },
      mutations: { retry: false },
    },
  })
  return client
}
