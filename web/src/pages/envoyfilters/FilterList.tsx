import { Drawer, DrawerContent, DrawerContentBody } from '@pf/Drawer'
import { Label } from '@pf/Label'
import { Switch } from '@pf/Switch'
import CheckCircleIcon from '@icons/check-circle-icon'
import ExclamationCircleIcon from '@icons/exclamation-circle-icon'
import ExclamationTriangleIcon from '@icons/exclamation-triangle-icon'
import { Button } from '@pf/Button'
import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { useState } from 'react'
import { useSearchParams } from 'react-router'
import { useMesh } from '../../api/reads'
import type { Schemas } from '../../api/client'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { ListToolbar, NoMatch, Pages } from '../../components/ListToolbar'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { StateLabel } from '../../components/StateLabel'
import { When } from '../../components/When'
import { useList } from '../../components/useList'
import { useTexts } from '../../preferences'
import { FilterDetails } from './FilterDetails'
import { HandledModal } from './HandledModal'
import { placeIn, useEnvoyFilters, written, type EnvoyFilter } from './reads'

/** The EnvoyFilters of a mesh: who made each, what it is worth with the new version, and who checked it. */
export function FilterList({ mesh }: { mesh: string }) {
  const t = useTexts()
  const list = useList('name', ['mesh', 'show'])
  const clusters = useMesh(mesh).data?.clusterList
  const [handling, setHandling] = useState<EnvoyFilter>()
  const [params, setParams] = useSearchParams()
  const show = (f: EnvoyFilter | undefined) =>
    setParams(
      (before) => {
        const after = new URLSearchParams(before)
        after.delete('show')
        if (f) {
          after.set('show', written(f))
        }
        return after
      },
      { replace: true },
    )
  const shown = placeIn(params.get('show') ?? undefined)
  const filters = useEnvoyFilters(mesh, { search: list.search || undefined, open: list.filter('open') === 'true' || undefined, limit: list.limit, continue: list.token })
  const may = (cluster: string): Schemas['Availability'] => clusters?.find((c) => c.name === cluster)?.actions.envoyFilters ?? { allowed: false, reason: t.common.loading }
  const details = shown && <FilterDetails place={shown} may={may(shown.cluster)} onHandle={setHandling} onClose={() => show(undefined)} />
  return (
    <Drawer isExpanded={shown !== undefined} isInline>
      <DrawerContent panelContent={details}>
        <DrawerContentBody className="ml-stack">
          <ListToolbar
            list={list}
            page={filters.data}
            placeholder={t.envoyFilters.search}
            filters={<Switch id="open" label={t.envoyFilters.onlyOpen} isChecked={list.filter('open') === 'true'} onChange={(_, on) => list.setFilter('open', on ? 'true' : undefined)} />}
          />
          <Loaded query={filters}>
            {(page) => (
              <>
                {page.unknown.map((u) => (
                  <SentenceAlert key={u.cluster} variant="warning" of={t.envoyFilters.unknown(u.cluster, u.message)} />
                ))}
                {page.total > 0 ? (
                  <FilterTable filters={page.items} shown={params.get('show') ?? undefined} may={may} onShow={(f) => show(f)} onHandle={setHandling} />
                ) : list.filtered ? (
                  <NoMatch list={list} />
                ) : (
                  page.unknown.length === 0 && (
                    <Empty title={t.envoyFilters.empty} icon={CheckCircleIcon}>
                      {t.envoyFilters.emptyBody}
                    </Empty>
                  )
                )}
                <Pages list={list} page={page} />
              </>
            )}
          </Loaded>
          {handling && <HandledModal filter={handling} mesh={mesh} onClose={() => setHandling(undefined)} />}
        </DrawerContentBody>
      </DrawerContent>
    </Drawer>
  )
}

interface TableProps {
  filters: EnvoyFilter[]
  shown: string | undefined
  may: (cluster: string) => Schemas['Availability']
  onShow: (f: EnvoyFilter) => void
  onHandle: (f: EnvoyFilter) => void
}

function FilterTable({ filters, shown, may, onShow, onHandle }: TableProps) {
  const t = useTexts()
  return (
    <Table aria-label={t.shell.envoyFilters} variant="compact" gridBreakPoint="grid-lg">
      <Thead>
        <Tr>
          <Th>{t.envoyFilters.name}</Th>
          <Th>{t.envoyFilters.cluster}</Th>
          <Th>{t.envoyFilters.creator}</Th>
          <Th>{t.envoyFilters.target}</Th>
          <Th>{t.envoyFilters.handled}</Th>
          <Th screenReaderText={t.plane.actions} />
        </Tr>
      </Thead>
      <Tbody>
        {filters.map((f) => (
          <Tr key={written(f)} isRowSelected={shown === written(f)}>
            <Td dataLabel={t.envoyFilters.name} modifier="breakWord">
              <span className="ml-muted">{f.namespace}/</span>
              <Button variant="link" isInline onClick={() => onShow(f)}>
                {f.name}
              </Button>
            </Td>
            <Td dataLabel={t.envoyFilters.cluster}>{f.cluster}</Td>
            <Td dataLabel={t.envoyFilters.creator}>{f.creator ?? t.common.unknown}</Td>
            <Td dataLabel={t.envoyFilters.target}>
              <Verdict filter={f} />
            </Td>
            <Td dataLabel={t.envoyFilters.handled}>
              <Handled filter={f} />
            </Td>
            <Td dataLabel={t.plane.actions}>
              {!f.handled && f.target && (
                <GateButton may={may(f.cluster)} variant="secondary" size="sm" aria-label={`${t.envoyFilters.handle}: ${f.name}`} onClick={() => onHandle(f)}>
                  {t.envoyFilters.handle}
                </GateButton>
              )}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}

const verdicts = {
  fine: { color: 'green', icon: <CheckCircleIcon /> },
  changes: { color: 'orange', icon: <ExclamationTriangleIcon /> },
  unknown: { color: 'grey', icon: undefined },
  breaks: { color: 'red', icon: <ExclamationCircleIcon /> },
} as const

/** What it is worth with the version that is entered. */
export function Verdict({ filter: f }: { filter: EnvoyFilter }) {
  const t = useTexts()
  if (!f.target) {
    return <span className="ml-muted">{t.envoyFilters.noUpgrade}</span>
  }
  const look = verdicts[f.verdict ?? 'unknown']
  return (
    <>
      <Label isCompact variant="outline" color={look.color} icon={look.icon}>
        {t.envoyFilters.verdict(f.target, t.envoyFilters.verdicts[f.verdict ?? 'unknown'])}
      </Label>
      {f.why && <div className="ml-muted ml-small ml-sentence">{f.why}</div>}
    </>
  )
}

/** Who checked it, and when. */
export function Handled({ filter: f }: { filter: EnvoyFilter }) {
  const t = useTexts()
  if (!f.handled) {
    return f.target ? <StateLabel state="Attention" text={t.envoyFilters.open} /> : <span className="ml-muted">{t.envoyFilters.noUpgrade}</span>
  }
  return (
    <>
      <StateLabel state="Done" text={t.envoyFilters.handled} />
      <div className="ml-small">
        {f.by} {f.at && <When at={f.at} />}
      </div>
      {f.note && <div className="ml-muted ml-small ml-sentence">{f.note}</div>}
    </>
  )
}
