import { useQuery } from '@tanstack/react-query'
import { api, call, type Schemas } from './api/client'
import { keys } from './api/keys'

/** Who is logged in; null when nobody is. */
export function useSession() {
  return useQuery<Schemas['Session'] | null>({
    queryKey: keys.session,
    queryFn: async ({ signal }) => (await call(api.GET('/api/v1/login', { signal }))).session ?? null,
    staleTime: 60_000,
  })
}

/** The page to go to after a login: one of these pages, and never another site. */
export function pageAfterLogin(search: string): string {
  const page = new URLSearchParams(search).get('page') ?? ''
  return /^\/[^/\\]/.test(page) && !page.startsWith('/login') ? page : '/meshes'
}
