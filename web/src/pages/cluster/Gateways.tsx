import { useState } from 'react'
import { useCluster } from '../../api/reads'
import { Empty } from '../../components/Empty'
import { ListToolbar, NoMatch, Pages } from '../../components/ListToolbar'
import { Loaded } from '../../components/Loaded'
import { useList } from '../../components/useList'
import { useTexts } from '../../preferences'
import { MoveModal, type Move } from '../planes/MoveModal'
import { PlaneTable } from '../planes/PlaneTable'
import { RolloutProgress } from '../planes/RolloutProgress'
import { StateFilter, stateIn } from '../planes/StateFilter'
import { useDataPlanes, type Cluster, type Query } from '../planes/reads'
import { useClusterName } from './ClusterPage'

/** The gateways of a cluster: their Istio version, and Upgrade. */
export function Gateways() {
  const cluster = useCluster(useClusterName())
  return <Loaded query={cluster}>{(c) => <All cluster={c} />}</Loaded>
}

function All({ cluster }: { cluster: Cluster }) {
  const t = useTexts()
  const list = useList()
  const [move, setMove] = useState<Move>()
  const planes = useDataPlanes(cluster.name, {
    role: 'Gateway',
    search: list.search || undefined,
    state: stateIn(list),
    sort: list.sort as Query['sort'],
    order: list.order,
    limit: list.limit,
    continue: list.token,
  })
  return (
    <div className="ml-stack">
      <RolloutProgress cluster={cluster} />
      <ListToolbar list={list} page={planes.data} placeholder={t.gateways.search} filters={<StateFilter list={list} />} />
      <Loaded query={planes}>
        {(page) =>
          page.total === 0 ? (
            list.filtered ? (
              <NoMatch list={list} />
            ) : (
              <Empty title={t.gateways.empty}>{t.gateways.emptyBody}</Empty>
            )
          ) : (
            <>
              <PlaneTable cluster={cluster} planes={page.items} label={t.gateways.title} list={list} onMove={setMove} gateways />
              <Pages list={list} page={page} />
            </>
          )
        }
      </Loaded>
      {move && <MoveModal cluster={cluster} move={move} onClose={() => setMove(undefined)} />}
    </div>
  )
}
