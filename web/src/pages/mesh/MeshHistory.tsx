import { useMesh } from '../../api/reads'
import { Empty } from '../../components/Empty'
import { HistoryTable } from '../../components/HistoryTable'
import { Loaded } from '../../components/Loaded'
import { useTexts } from '../../preferences'
import { useMeshName } from './MeshPage'

/** What happened to a mesh, and who did it. */
export function MeshHistory() {
  const t = useTexts()
  return (
    <Loaded query={useMesh(useMeshName())}>
      {(m) => (m.history.length === 0 ? <Empty title={t.mesh.noHistory} /> : <HistoryTable history={m.history} label={t.mesh.history} />)}
    </Loaded>
  )
}
