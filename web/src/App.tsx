import { Button } from '@pf/Button'
import { Navigate, Outlet, Route, Routes, useLocation, useNavigate } from 'react-router'
import { Empty } from './components/Empty'
import { Loaded } from './components/Loaded'
import { Login } from './pages/Login'
import { Meshes } from './pages/Meshes'
import { EnvoyFilters } from './pages/EnvoyFilters'
import { MeshPage } from './pages/mesh/MeshPage'
import { Deployment } from './pages/mesh/Deployment'
import { Waves } from './pages/mesh/Waves'
import { MeshEnvoyFilters } from './pages/mesh/MeshEnvoyFilters'
import { Sidecars } from './pages/mesh/Sidecars'
import { MeshNamespaces } from './pages/mesh/MeshNamespaces'
import { MeshHistory } from './pages/mesh/MeshHistory'
import { ClusterPage } from './pages/cluster/ClusterPage'
import { Components } from './pages/cluster/Components'
import { Upgrade } from './pages/cluster/Upgrade'
import { Gateways } from './pages/cluster/Gateways'
import { Namespaces } from './pages/cluster/Namespaces'
import { ServiceList } from './pages/cluster/ServiceList'
import { useTexts } from './preferences'
import { useSession } from './session'
import { Shell } from './shell/Shell'

/** All pages by their addresses. */
export function App() {
  return (
    <Routes>
      <Route path="login" element={<Login />} />
      <Route element={<LoggedIn />}>
        <Route element={<Shell />}>
          <Route index element={<Navigate to="/meshes" replace />} />
          <Route path="meshes" element={<Meshes />} />
          <Route path="meshes/:mesh" element={<MeshPage />}>
            <Route index element={<Navigate to="deployment" replace />} />
            <Route path="deployment" element={<Deployment />} />
            <Route path="waves" element={<Waves />} />
            <Route path="envoyfilters" element={<MeshEnvoyFilters />} />
            <Route path="sidecars" element={<Sidecars />} />
            <Route path="namespaces" element={<MeshNamespaces />} />
            <Route path="history" element={<MeshHistory />} />
          </Route>
          <Route path="clusters/:cluster" element={<ClusterPage />}>
            <Route index element={<Navigate to="upgrade" replace />} />
            <Route path="components" element={<Components />} />
            <Route path="upgrade" element={<Upgrade />} />
            <Route path="gateways" element={<Gateways />} />
            <Route path="namespaces" element={<Namespaces />} />
            <Route path="namespaces/:namespace" element={<ServiceList />} />
          </Route>
          <Route path="envoyfilters" element={<EnvoyFilters />} />
          <Route path="*" element={<NotFound />} />
        </Route>
      </Route>
    </Routes>
  )
}

/** Pages are for who is logged in; others log in first and then see the page that they came for. */
function LoggedIn() {
  const session = useSession()
  const { pathname, search } = useLocation()
  return <Loaded query={session}>{(s) => (s === null ? <Navigate to={`/login?page=${encodeURIComponent(pathname + search)}`} replace /> : <Outlet />)}</Loaded>
}

function NotFound() {
  const t = useTexts()
  const { pathname } = useLocation()
  const navigate = useNavigate()
  return (
    <Empty
      whole
      title={t.common.notFound}
      actions={
        <Button variant="link" onClick={() => void navigate('/meshes')}>
          {t.common.toMeshes}
        </Button>
      }
    >
      {t.common.notFoundBody(pathname)}
    </Empty>
  )
}
