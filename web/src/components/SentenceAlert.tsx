import { Alert } from '@pf/Alert'
import type { ReactNode } from 'react'
import { asProblem } from '../api/problem'
import { useTexts } from '../preferences'

/** An error in words; a sentence of the hub as it is. */
export function useSentence() {
  const t = useTexts()
  return (error: unknown) => {
    const p = asProblem(error)
    return p.unreachable ? t.common.unreachable(p.message) : p.message
  }
}

interface Props {
  /** An error, or a sentence. */
  of: unknown
  variant?: 'danger' | 'warning' | 'info' | 'success'
  /** What is possible next. */
  children?: ReactNode
}

/** One sentence, as the hub said it. A refusal by a gate that opens by itself is a warning and no failure. */
export function SentenceAlert({ of, variant, children }: Props) {
  const sentence = useSentence()
  const kind = variant ?? (asProblem(of).verdict?.outcome === 'Wait' ? 'warning' : 'danger')
  return (
    <Alert variant={kind} isInline title={typeof of === 'string' ? of : sentence(of)} component="p" role={kind === 'danger' ? 'alert' : undefined}>
      {children}
    </Alert>
  )
}
