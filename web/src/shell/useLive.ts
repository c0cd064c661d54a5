import { useQueryClient } from '@tanstack/react-query'
import { useCallback, useEffect, useRef, useState } from 'react'
import { keys } from '../api/keys'
import { Live, type Connection } from '../live'

/** A connection that is lost for less (ms) is not worth a word. */
const grace = 1_500

/** Keeps everything on the pages up to date; says since when it is not. */
export function useLive() {
  const queries = useQueryClient()
  const live = useRef<Live>(undefined)
  const [lostAt, setLostAt] = useState<Date>()
  useEffect(() => {
    let last: Connection = 'connecting'
    let timer: ReturnType<typeof setTimeout> | undefined
    const onConnection = (c: Connection) => {
      if (c === last) {
        return
      }
      last = c
      clearTimeout(timer)
      if (c === 'lost') {
        const at = new Date()
        timer = setTimeout(() => setLostAt(at), grace)
        // It may be the session that ended, and not the connection.
        void queries.invalidateQueries({ queryKey: keys.session })
      } else {
        setLostAt(undefined)
      }
    }
    live.current = new Live({ open: () => new EventSource('/api/v1/changes'), queries, onConnection })
    live.current.start()
    return () => {
      clearTimeout(timer)
      live.current?.stop()
    }
  }, [queries])
  return { lostAt, tryNow: useCallback(() => live.current?.start(), []) }
}
