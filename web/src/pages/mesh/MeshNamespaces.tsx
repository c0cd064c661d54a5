import { Title } from '@pf/Title'
import { Link } from 'react-router'
import { useMesh } from '../../api/reads'
import { Empty } from '../../components/Empty'
import { Loaded } from '../../components/Loaded'
import { useTexts } from '../../preferences'
import { NamespaceTable } from '../planes/NamespaceTable'
import { useNamespaces } from '../planes/reads'
import { useMeshName } from './MeshPage'

/** The namespaces of a mesh, by cluster. */
export function MeshNamespaces() {
  const t = useTexts()
  const mesh = useMesh(useMeshName())
  return (
    <Loaded query={mesh}>
      {(m) => (
        <div className="ml-stack">
          {m.clusterList.length === 0 && <Empty title={t.namespaces.noCluster} />}
          {m.clusterList.map((c) => (
            <section key={c.name} className="ml-stack">
              <Title headingLevel="h2" size="lg">
                <Link to={`/clusters/${c.name}/namespaces`}>{c.name}</Link>
              </Title>
              <OfCluster cluster={c.name} />
            </section>
          ))}
        </div>
      )}
    </Loaded>
  )
}

/** So many are shown; the page of the cluster has all, with search. */
const shown = 50

function OfCluster({ cluster }: { cluster: string }) {
  const t = useTexts()
  return (
    <Loaded query={useNamespaces(cluster, { limit: shown })}>
      {(page) => (
        <>
          {page.total === 0 ? <Empty title={t.namespaces.empty}>{t.namespaces.emptyBody}</Empty> : <NamespaceTable cluster={cluster} namespaces={page.items} />}
          {page.total > shown && <Link to={`/clusters/${cluster}/namespaces`}>{t.namespaces.others(page.total - shown)}</Link>}
        </>
      )}
    </Loaded>
  )
}
