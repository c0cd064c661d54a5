import { useCluster } from '../../api/reads'
import { Empty } from '../../components/Empty'
import { ListToolbar, NoMatch, Pages } from '../../components/ListToolbar'
import { Loaded } from '../../components/Loaded'
import { useList } from '../../components/useList'
import { useTexts } from '../../preferences'
import { NamespaceTable } from '../planes/NamespaceTable'
import { RolloutProgress } from '../planes/RolloutProgress'
import { useNamespaces } from '../planes/reads'
import { useClusterName } from './ClusterPage'

/** The namespaces of a cluster. */
export function Namespaces() {
  const t = useTexts()
  const name = useClusterName()
  const list = useList()
  const cluster = useCluster(name).data
  const namespaces = useNamespaces(name, { search: list.search || undefined, limit: list.limit, continue: list.token })
  return (
    <div className="ml-stack">
      {cluster && <RolloutProgress cluster={cluster} />}
      <ListToolbar list={list} page={namespaces.data} placeholder={t.namespaces.search} />
      <Loaded query={namespaces}>
        {(page) =>
          page.total === 0 ? (
            list.filtered ? (
              <NoMatch list={list} />
            ) : (
              <Empty title={t.namespaces.empty}>{t.namespaces.emptyBody}</Empty>
            )
          ) : (
            <>
              <NamespaceTable cluster={name} namespaces={page.items} />
              <Pages list={list} page={page} />
            </>
          )
        }
      </Loaded>
    </div>
  )
}
