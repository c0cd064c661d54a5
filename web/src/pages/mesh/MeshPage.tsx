import { Outlet, useParams } from 'react-router'
import { useMesh } from '../../api/reads'
import { Screen } from '../../components/Screen'
import { useTexts } from '../../preferences'

/** The name in the address. */
export const useMeshName = () => useParams().mesh ?? ''

/** One mesh and its parts. */
export function MeshPage() {
  const t = useTexts()
  const name = useMeshName()
  const mesh = useMesh(name).data
  const at = `/meshes/${name}`
  const parts = [
    { to: `${at}/deployment`, title: t.mesh.deployment },
    { to: `${at}/waves`, title: t.mesh.waves },
    { to: `${at}/envoyfilters`, title: t.shell.envoyFilters },
    { to: `${at}/namespaces`, title: t.mesh.namespaces },
    { to: `${at}/sidecars`, title: t.mesh.sidecars },
    { to: `${at}/history`, title: t.mesh.history },
  ]
  return (
    <Screen title={mesh?.displayName ?? name} crumbs={[{ name: t.meshes.title, to: '/meshes' }]} parts={parts}>
      <Outlet />
    </Screen>
  )
}
