import { Outlet, useParams } from 'react-router'
import { useCluster } from '../../api/reads'
import { Screen } from '../../components/Screen'
import { useTexts } from '../../preferences'

/** The name in the address. */
export const useClusterName = () => useParams().cluster ?? ''

/** One cluster and its parts. */
export function ClusterPage() {
  const t = useTexts()
  const name = useClusterName()
  const cluster = useCluster(name).data
  const at = `/clusters/${name}`
  const parts = [
    { to: `${at}/upgrade`, title: t.cluster.upgrade },
    { to: `${at}/components`, title: t.cluster.components },
    { to: `${at}/gateways`, title: t.cluster.gateways },
    { to: `${at}/namespaces`, title: t.cluster.namespaces },
  ]
  const way = cluster?.mesh ? [{ name: cluster.mesh, to: `/meshes/${cluster.mesh}` }] : []
  return (
    <Screen title={name} crumbs={[{ name: t.meshes.title, to: '/meshes' }, ...way]} parts={parts}>
      <Outlet />
    </Screen>
  )
}
