import { Dropdown, DropdownItem, DropdownList } from '@pf/Dropdown'
import { MenuToggle } from '@pf/MenuToggle'
import { useState } from 'react'
import { Link, useParams } from 'react-router'
import { useCluster } from '../../api/reads'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { ListToolbar, NoMatch, Pages } from '../../components/ListToolbar'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { useList } from '../../components/useList'
import { useTexts } from '../../preferences'
import { MoveModal, type Move } from '../planes/MoveModal'
import { PlaneTable, type Chosen } from '../planes/PlaneTable'
import { RolloutProgress } from '../planes/RolloutProgress'
import { StateFilter, stateIn } from '../planes/StateFilter'
import { allUpgradeable, useDataPlanes, useNamespaces, type Cluster, type Query } from '../planes/reads'
import { useClusterName } from './ClusterPage'

/** The services of a namespace: upgrade one, some or all. */
export function ServiceList() {
  const cluster = useCluster(useClusterName())
  const namespace = useParams().namespace ?? ''
  return <Loaded query={cluster}>{(c) => <Services key={namespace} cluster={c} namespace={namespace} />}</Loaded>
}

function Services({ cluster, namespace }: { cluster: Cluster; namespace: string }) {
  const t = useTexts()
  const list = useList()
  const [chosen, choose] = useState<Chosen>(new Map())
  const [move, setMove] = useState<Move>()
  const filter: Query = { namespace, role: 'Sidecar', search: list.search || undefined, state: stateIn(list) }
  const planes = useDataPlanes(cluster.name, { ...filter, sort: list.sort as Query['sort'], order: list.order, limit: list.limit, continue: list.token })
  return (
    <div className="ml-stack">
      <h2 className="ml-strong">
        <Link to={`/clusters/${cluster.name}/namespaces`}>{t.cluster.namespaces}</Link> / {namespace}
      </h2>
      <RolloutProgress cluster={cluster} />
      <ListToolbar
        list={list}
        page={planes.data}
        placeholder={t.services.search}
        filters={<StateFilter list={list} />}
        actions={<Batch {...{ cluster, namespace, filter, chosen }} filtered={list.filtered} onMove={setMove} />}
      />
      <Loaded query={planes}>
        {(page) =>
          page.total === 0 ? (
            list.filtered ? (
              <NoMatch list={list} />
            ) : (
              <Empty title={t.services.empty}>{t.services.emptyBody}</Empty>
            )
          ) : (
            <>
              <PlaneTable cluster={cluster} planes={page.items} label={t.services.title(namespace)} list={list} onMove={setMove} choice={{ chosen, choose }} />
              <Pages list={list} page={page} />
            </>
          )
        }
      </Loaded>
      {move && (
        <MoveModal
          cluster={cluster}
          move={move}
          onClose={() => {
            setMove(undefined)
            choose(new Map())
          }}
        />
      )}
    </div>
  )
}

interface BatchProps {
  cluster: Cluster
  namespace: string
  filter: Query
  filtered: boolean
  chosen: Chosen
  onMove: (m: Move) => void
}

/** Batch Upgrade Sidecars: those that are chosen, or all that the words and filters let through. */
function Batch({ cluster, namespace, filter, filtered, chosen, onMove }: BatchProps) {
  const t = useTexts()
  const [open, setOpen] = useState(false)
  const [reading, setReading] = useState(false)
  const [error, setError] = useState<unknown>()
  const counts = useNamespaces(cluster.name, { search: namespace, limit: 1000 }).data?.items.find((n) => n.name === namespace)
  const may = cluster.actions.moveWorkloads
  const why = may.allowed ? (counts?.open === 0 ? t.services.nothingOpen : undefined) : may.reason
  const all = async () => {
    setReading(true)
    setError(undefined)
    try {
      const planes = await allUpgradeable(cluster.name, filter)
      // A namespace is one target, and also those that come meanwhile; but it would be its gateways too.
      const whole = !filtered && counts?.gateways === 0
      onMove({ direction: 'Forward', planes, targets: whole ? [{ namespace }] : undefined })
    } catch (e) {
      setError(e)
    } finally {
      setReading(false)
    }
  }
  if (why !== undefined) {
    return (
      <GateButton may={{ allowed: false, reason: why }} variant="primary">
        {t.services.batch}
      </GateButton>
    )
  }
  return (
    <>
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={() => setOpen(false)}
        toggle={(ref) => (
          <MenuToggle ref={ref} variant="primary" isExpanded={open} isDisabled={reading} onClick={() => setOpen(!open)}>
            {t.services.batch}
          </MenuToggle>
        )}
      >
        <DropdownList>
          <DropdownItem isAriaDisabled={chosen.size === 0} description={chosen.size === 0 ? t.services.chooseFirst : undefined} onClick={() => chosen.size > 0 && onMove({ direction: 'Forward', planes: [...chosen.values()] })}>
            {t.services.some(chosen.size)}
          </DropdownItem>
          <DropdownItem onClick={() => void all()}>{filtered ? t.services.allFound : t.services.all(counts?.open ?? 0)}</DropdownItem>
        </DropdownList>
      </Dropdown>
      {error !== undefined && <SentenceAlert of={error} />}
    </>
  )
}
