import { Alert } from '@pf/Alert'
import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { useState } from 'react'
import { GateButton } from '../../components/GateButton'
import { SentenceAlert } from '../../components/SentenceAlert'
import { When } from '../../components/When'
import { useTexts } from '../../preferences'
import { targetOf, useMoves, type Cluster, type DataPlane, type Decision } from './reads'

/** Why a move failed, with the events of its pods, and what can be done about it. */
export function Failure({ cluster, plane }: { cluster: Cluster; plane: DataPlane }) {
  const t = useTexts()
  const { decide } = useMoves(cluster.name)
  const [pending, setPending] = useState<Decision>()
  const [error, setError] = useState<unknown>()
  const f = plane.failure
  if (!f) {
    return null
  }
  const act = async (decision: Decision) => {
    setPending(decision)
    setError(undefined)
    try {
      await decide(f.rollout, decision, [targetOf(plane)])
    } catch (e) {
      setError(e)
    } finally {
      setPending(undefined)
    }
  }
  const may = f.waiting ? cluster.actions.moveWorkloads : { allowed: false, reason: t.failure.decided }
  const button = (decision: Decision, text: string, variant: 'primary' | 'secondary') => (
    <GateButton may={may} variant={variant} size="sm" isLoading={pending === decision} onClick={() => void act(decision)} aria-label={`${text}: ${plane.name}`}>
      {text}
    </GateButton>
  )
  return (
    <Alert variant="danger" isInline component="h2" title={t.failure.title(f.attempt)}>
      <div className="ml-stack">
        <p>{f.message}</p>
        {f.events.length === 0 ? <p>{t.failure.noEvents}</p> : <Events plane={plane} />}
        <div className="ml-labels">
          {button('Retry', t.plane.reupgrade, 'primary')}
          {button('MoveBack', t.plane.moveBack, 'secondary')}
          {button('Skip', t.failure.skip, 'secondary')}
        </div>
        {error !== undefined && <SentenceAlert of={error} />}
      </div>
    </Alert>
  )
}

function Events({ plane }: { plane: DataPlane }) {
  const t = useTexts()
  return (
    <Table variant="compact" borders={false} aria-label={t.failure.events(plane.name)}>
      <Thead>
        <Tr>
          <Th>{t.failure.lastSeen}</Th>
          <Th>{t.failure.pod}</Th>
          <Th>{t.failure.reason}</Th>
          <Th>{t.failure.message}</Th>
        </Tr>
      </Thead>
      <Tbody>
        {plane.failure?.events.map((e) => (
          <Tr key={`${e.pod}/${e.reason}/${e.lastSeen}/${e.message}`}>
            <Td dataLabel={t.failure.lastSeen}>
              <When at={e.lastSeen} />
            </Td>
            <Td dataLabel={t.failure.pod} modifier="breakWord">
              {e.pod}
            </Td>
            <Td dataLabel={t.failure.reason}>{e.count > 1 ? `${e.reason} ×${e.count}` : e.reason}</Td>
            <Td dataLabel={t.failure.message} modifier="breakWord">
              {e.message}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}
