import { Checkbox } from '@pf/Checkbox'
import { Icon } from '@pf/Icon'
import ArrowCircleUpIcon from '@icons/arrow-circle-up-icon'
import { ExpandableRowContent, Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { memo, useCallback, useState, type Dispatch, type SetStateAction } from 'react'
import { GateButton } from '../../components/GateButton'
import { StateLabel } from '../../components/StateLabel'
import type { List } from '../../components/useList'
import { useTexts } from '../../preferences'
import { Failure } from './Failure'
import type { Move } from './MoveModal'
import { keyOf, type Cluster, type DataPlane } from './reads'

/** What is chosen, also on other pages of the list. */
export type Chosen = ReadonlyMap<string, DataPlane>

interface Props {
  cluster: Cluster
  planes: DataPlane[]
  label: string
  list: List
  onMove: (m: Move) => void
  /** Boxes to choose with. */
  choice?: { chosen: Chosen; choose: Dispatch<SetStateAction<Chosen>> }
  /** Gateways of all namespaces: then namespace and role are shown. */
  gateways?: boolean
}

const columns = ['name', 'version', 'state', 'pods']

/** Data planes and what can be done with each. One that failed shows why, in place. */
export function PlaneTable({ cluster, planes, label, list, onMove, choice, gateways }: Props) {
  const t = useTexts()
  const open = planes.filter((p) => p.upgradeable)
  const all = open.length > 0 && open.every((p) => choice?.chosen.has(keyOf(p)))
  const set = choice?.choose
  const choose = useCallback(
    (rows: DataPlane[], on: boolean) =>
      set?.((before) => {
        const next = new Map(before)
        for (const p of rows) {
          if (on) {
            next.set(keyOf(p), p)
          } else {
            next.delete(keyOf(p))
          }
        }
        return next
      }),
    [set],
  )
  const head = (column: string) => list.head(column, columns.indexOf(column), columns)
  return (
    <Table aria-label={label} variant="compact" gridBreakPoint="grid-lg" isExpandable>
      <Thead>
        <Tr>
          <Th screenReaderText={t.common.details} />
          {choice && (
            <Th className="ml-box">
              <Checkbox id="choose-page" aria-label={t.plane.choosePage} isChecked={all} isDisabled={open.length === 0} onChange={(_, on) => choose(open, on)} />
            </Th>
          )}
          <Th sort={head('name')}>{t.plane.name}</Th>
          {gateways && <Th>{t.plane.role}</Th>}
          <Th sort={head('version')}>{t.plane.version}</Th>
          <Th sort={head('state')}>{t.plane.state}</Th>
          <Th sort={head('pods')}>{t.plane.pods}</Th>
          <Th screenReaderText={t.plane.actions} />
        </Tr>
      </Thead>
      {planes.map((p, n) => (
        <Row key={keyOf(p)} at={n} plane={p} chosen={choice?.chosen.has(keyOf(p))} {...{ cluster, onMove, choose, gateways }} />
      ))}
    </Table>
  )
}

interface RowProps {
  cluster: Cluster
  plane: DataPlane
  /** Number of the row. */
  at: number
  /** undefined when there are no boxes. */
  chosen?: boolean
  choose: (rows: DataPlane[], on: boolean) => void
  onMove: (m: Move) => void
  gateways?: boolean
}

/** A row is drawn anew when its data plane is another one, not with each word that is looked for. */
const Row = memo(function Row({ cluster, plane: p, at, chosen, choose, onMove, gateways }: RowProps) {
  const t = useTexts()
  const [closed, setClosed] = useState(false)
  const failed = p.failure !== undefined
  const expanded = failed && !closed
  return (
    <Tbody isExpanded={expanded}>
      <Tr>
        <Td expand={failed ? { rowIndex: at, isExpanded: expanded, onToggle: () => setClosed(expanded), expandId: 'failure' } : undefined} />
        {chosen !== undefined && (
          <Td className="ml-box">
            <Checkbox id={`choose-${at}`} aria-label={t.plane.choose(p.name)} isChecked={chosen} isDisabled={!p.upgradeable} onChange={(_, on) => choose([p], on)} />
          </Td>
        )}
        <Td dataLabel={t.plane.name} modifier="breakWord">
          {gateways && <span className="ml-muted">{p.namespace}/</span>}
          <span className="ml-strong">{p.name}</span> <span className="ml-muted ml-small">{p.kind === 'Deployment' ? '' : p.kind}</span>
        </Td>
        {gateways && <Td dataLabel={t.plane.role}>{t.roles[p.role]}</Td>}
        <Td dataLabel={t.plane.version}>
          <span className="ml-labels">
            {p.version}
            {p.upgradeable && <Upgradeable to={cluster.upgrade?.to ?? ''} />}
          </span>
        </Td>
        <Td dataLabel={t.plane.state}>
          <StateLabel state={p.state} />
          {p.message && !failed && <div className="ml-muted ml-small ml-sentence">{p.message}</div>}
        </Td>
        <Td dataLabel={t.plane.pods}>{p.state === 'Current' ? p.pods : t.plane.podsMoved(p.movedPods, p.pods)}</Td>
        <Td dataLabel={t.plane.actions}>
          <Act {...{ cluster, onMove }} plane={p} />
        </Td>
      </Tr>
      {expanded && (
        <Tr isExpanded>
          <Td colSpan={8}>
            <ExpandableRowContent>
              <Failure cluster={cluster} plane={p} />
            </ExpandableRowContent>
          </Td>
        </Tr>
      )}
    </Tbody>
  )
})

/** The text is a title: a tooltip of its own for each of many rows takes longer than the rest of them. */
function Upgradeable({ to }: { to: string }) {
  const text = useTexts().plane.upgradeable(to)
  return (
    <Icon status="info" role="img" aria-label={text} title={text}>
      <ArrowCircleUpIcon />
    </Icon>
  )
}

/** The one action of a row. */
function Act({ cluster, plane: p, onMove }: Pick<RowProps, 'cluster' | 'plane' | 'onMove'>) {
  const t = useTexts()
  const may = cluster.actions.moveWorkloads
  if (p.upgradeable || (p.state === 'Pending' && !may.allowed)) {
    const text = p.state === 'Failed' ? t.plane.reupgrade : t.plane.upgrade
    return (
      <GateButton may={may} variant="secondary" size="sm" aria-label={`${text}: ${p.name}`} onClick={() => onMove({ direction: 'Forward', planes: [p] })}>
        {text}
      </GateButton>
    )
  }
  if (p.state === 'Moved') {
    return (
      <GateButton
        may={p.moveBack ? may : { allowed: false, reason: t.plane.noMoveBack }}
        variant="link"
        size="sm"
        aria-label={`${t.plane.moveBack}: ${p.name}`}
        onClick={() => onMove({ direction: 'Back', planes: [p] })}
      >
        {t.plane.moveBack}
      </GateButton>
    )
  }
  return null
}
