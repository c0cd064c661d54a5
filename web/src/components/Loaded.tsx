import { Button } from '@pf/Button'
import { Skeleton } from '@pf/Skeleton'
import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { useTexts } from '../preferences'
import { Empty } from './Empty'
import { SentenceAlert, useSentence } from './SentenceAlert'

/** What was read; until then lines in its place, and the sentence of the hub when it could not be read. */
export function Loaded<T>({ query, children }: { query: UseQueryResult<T>; children: (data: T) => ReactNode }) {
  const t = useTexts()
  const sentence = useSentence()
  if (query.data !== undefined) {
    return (
      <>
        {query.isError && (
          <SentenceAlert of={`${t.common.stale} ${sentence(query.error)}`} variant="warning" />
        )}
        {children(query.data)}
      </>
    )
  }
  if (query.isError) {
    return (
      <Empty
        title={t.common.notRead}
        status="danger"
        actions={
          <Button variant="link" isLoading={query.isFetching} onClick={() => void query.refetch()}>
            {t.common.tryAgain}
          </Button>
        }
      >
        {sentence(query.error)}
      </Empty>
    )
  }
  return (
    <div className="ml-stack" aria-busy="true" role="status" aria-label={t.common.loading}>
      {['70%', '90%', '80%', '60%'].map((width) => (
        <Skeleton key={width} width={width} height="1.6rem" />
      ))}
    </div>
  )
}
