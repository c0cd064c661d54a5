import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'
import { useCluster } from '../../api/reads'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { Loaded } from '../../components/Loaded'
import { StateLabel } from '../../components/StateLabel'
import { useTexts } from '../../preferences'
import { useClusterActions, type Cluster } from '../mesh/reads'
import { useClusterName } from './ClusterPage'

function useComponents(cluster: string) {
  return useQuery({
    queryKey: [...keys.cluster(cluster), 'components'],
    queryFn: ({ signal }) => call(api.GET('/api/v1/clusters/{cluster}/components', { params: { path: { cluster } }, signal })),
  })
}

/** The components of a cluster: versions, Upgrade, Upgrade all (step 1). */
export function Components() {
  const name = useClusterName()
  const components = useComponents(name)
  return <Loaded query={useCluster(name)}>{(c) => <Loaded query={components}>{(page) => <All cluster={c} components={page.items} />}</Loaded>}</Loaded>
}

function All({ cluster, components }: { cluster: Cluster; components: Schemas['Component'][] }) {
  const t = useTexts()
  const { components: upgrade } = useClusterActions(cluster)
  const [asked, setAsked] = useState<Schemas['Component'] | 'all'>()
  const heads = [t.components.name, t.components.running, t.components.offered, t.components.state]
  if (components.length === 0) {
    return <Empty title={t.components.empty}>{t.components.emptyBody}</Empty>
  }
  const open = components.some((c) => c.upgrade.allowed)
  return (
    <div className="ml-stack">
      <div>
        <GateButton may={cluster.actions.components.allowed && !open ? { allowed: false, reason: t.components.nothing } : cluster.actions.components} onClick={() => setAsked('all')}>
          {t.components.all}
        </GateButton>
      </div>
      <Table aria-label={t.cluster.components} variant="compact">
        <Thead>
          <Tr>
            {heads.map((h) => (
              <Th key={h}>{h}</Th>
            ))}
            <Th screenReaderText={t.plane.actions} />
          </Tr>
        </Thead>
        <Tbody>
          {components.map((c) => (
            <Tr key={c.name}>
              <Td dataLabel={heads[0]}>
                <span className="ml-strong">{c.title}</span>
                {c.installedBy && <div className="ml-muted ml-small">{c.installedBy}</div>}
              </Td>
              <Td dataLabel={heads[1]}>{c.running ?? t.common.none}</Td>
              <Td dataLabel={heads[2]}>{c.offered ?? t.common.none}</Td>
              <Td dataLabel={heads[3]} className="ml-sentence">
                <StateLabel state={c.phase} /> {c.message}
              </Td>
              <Td isActionCell>
                <GateButton may={c.upgrade} variant="secondary" size="sm" aria-label={`${t.components.upgrade} ${c.title}`} onClick={() => setAsked(c)}>
                  {c.phase === 'Failed' ? t.components.retry : t.components.upgrade}
                </GateButton>
              </Td>
            </Tr>
          ))}
        </Tbody>
      </Table>
      {asked && (
        <ConfirmModal
          title={asked === 'all' ? t.components.allTitle : t.components.title(asked.title)}
          onClose={() => setAsked(undefined)}
          onConfirm={() => upgrade(asked === 'all' ? { all: true } : { names: [asked.name] })}
        >
          {asked !== 'all' && <p className="ml-strong">{`${asked.running ?? t.common.none} → ${asked.offered ?? ''}`}</p>}
          <p>{t.components.body}</p>
        </ConfirmModal>
      )}
    </div>
  )
}
