import { Table, Tbody, Td, Tr } from '@pf-table'
import { Link } from 'react-router'
import type { Schemas } from '../api/client'
import { When } from './When'

/** What happened, newest first; clusters are links unless the page is theirs. */
export function HistoryTable({ history, label }: { history: Schemas['History'][]; label: string }) {
  const rows = [...history].sort((a, b) => b.at.localeCompare(a.at))
  return (
    <Table aria-label={label} variant="compact" borders={false}>
      <Tbody>
        {rows.map((h) => (
          <Tr key={`${h.at} ${h.message}`}>
            <Td className="ml-nowrap ml-muted">
              <When at={h.at} />
            </Td>
            <Td>
              {h.cluster && (
                <>
                  <Link to={`/clusters/${h.cluster}`}>{h.cluster}</Link>{' '}
                </>
              )}
              {h.message}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}
