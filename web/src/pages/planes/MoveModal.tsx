import { Alert } from '@pf/Alert'
import { List, ListItem } from '@pf/List'
import { useState } from 'react'
import { ConfirmModal } from '../../components/ConfirmModal'
import { NumberField } from '../../components/NumberField'
import { useTexts } from '../../preferences'
import { targetOf, useMoves, type Cluster, type DataPlane, type Target } from './reads'

/** Data planes that are about to be asked for. */
export interface Move {
  direction: 'Forward' | 'Back'
  planes: DataPlane[]
  /** In the place of the data planes one by one: their namespace. */
  targets?: Target[]
}

/** So many are named; the rest is a number. */
const named = 8

/** Says what restarts and what that costs, then asks. */
export function MoveModal({ cluster, move: { direction, planes, targets }, onClose }: { cluster: Cluster; move: Move; onClose: () => void }) {
  const t = useTexts()
  const { start } = useMoves(cluster.name)
  const [parallelism, setParallelism] = useState(5)
  const back = direction === 'Back'
  const one = planes.length === 1 ? planes[0] : undefined
  const gateways = planes.every((p) => p.role !== 'Sidecar')
  const warnings = [...new Set(planes.flatMap((p) => p.warnings))]
  const { from = '', to = '' } = cluster.upgrade ?? {}
  const what = one ? one.name : t.move.services(planes.length)
  return (
    <ConfirmModal
      variant="medium"
      title={back ? t.move.backTitle(what) : t.move.title(what)}
      may={cluster.actions.moveWorkloads}
      onClose={onClose}
      onConfirm={() => start({ direction, targets: targets ?? planes.map(targetOf), parallelism: one ? undefined : parallelism })}
    >
      <p className="ml-strong">{back ? t.move.path(to, from) : t.move.path(from, to)}</p>
      <p>{gateways ? t.move.gateway : t.move.sidecars(planes.length)}</p>
      <p>{back ? t.move.again : t.move.undo}</p>
      {warnings.length > 0 && (
        <Alert variant="warning" isInline title={t.move.warnings} component="h2">
          <Some all={warnings} />
        </Alert>
      )}
      {!one && (
        <>
          <Some all={planes.map((p) => `${p.kind}/${p.name}`)} />
          <NumberField id="parallelism" label={t.move.parallelism} less={t.move.fewer} more={t.move.more} min={1} max={100} value={parallelism} onChange={setParallelism} />
        </>
      )}
    </ConfirmModal>
  )
}

function Some({ all }: { all: string[] }) {
  const t = useTexts()
  return (
    <List>
      {all.slice(0, named).map((text) => (
        <ListItem key={text}>{text}</ListItem>
      ))}
      {all.length > named && <ListItem>{t.move.others(all.length - named)}</ListItem>}
    </List>
  )
}
