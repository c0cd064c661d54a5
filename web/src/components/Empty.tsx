import { EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter } from '@pf/EmptyState'
import type { ComponentType, ReactNode } from 'react'

interface Props {
  title: string
  /** What to do next, or why there is nothing. */
  children?: ReactNode
  icon?: ComponentType
  actions?: ReactNode
  status?: 'danger' | 'warning' | 'success' | 'info'
  /** It is all of the page. */
  whole?: boolean
}

/** The place of something that is not there. */
export function Empty({ title, children, icon, actions, status, whole }: Props) {
  return (
    <EmptyState titleText={title} icon={icon} status={status} headingLevel={whole ? 'h1' : 'h2'} variant="sm">
      {children && <EmptyStateBody>{children}</EmptyStateBody>}
      {actions && (
        <EmptyStateFooter>
          <EmptyStateActions>{actions}</EmptyStateActions>
        </EmptyStateFooter>
      )}
    </EmptyState>
  )
}
