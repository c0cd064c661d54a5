import { FilterList } from '../envoyfilters/FilterList'
import { useMeshName } from './MeshPage'

/** The EnvoyFilters of this mesh. */
export function MeshEnvoyFilters() {
  const mesh = useMeshName()
  return <FilterList key={mesh} mesh={mesh} />
}
