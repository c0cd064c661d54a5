import { FormSelect, FormSelectOption } from '@pf/FormSelect'
import { useSearchParams } from 'react-router'
import { useMeshes } from '../api/reads'
import { Empty } from '../components/Empty'
import { Loaded } from '../components/Loaded'
import { Screen } from '../components/Screen'
import { useTexts } from '../preferences'
import { FilterList } from './envoyfilters/FilterList'

/** The EnvoyFilters of a mesh; which one is chosen on top. */
export function EnvoyFilters() {
  const t = useTexts()
  const meshes = useMeshes({ limit: 1000 })
  const [params, setParams] = useSearchParams()
  return (
    <Screen title={t.shell.envoyFilters} intro={t.envoyFilters.intro}>
      <Loaded query={meshes}>
        {({ items }) => {
          const mesh = params.get('mesh') ?? items[0]?.name
          if (mesh === undefined) {
            return <Empty title={t.meshes.empty}>{t.meshes.emptyBody}</Empty>
          }
          return (
            <div className="ml-stack">
              <div className="ml-labels">
                <label htmlFor="mesh">{t.meshes.mesh}</label>
                <FormSelect id="mesh" className="ml-search" value={mesh} onChange={(_, m) => setParams({ mesh: m })}>
                  {items.map((m) => (
                    <FormSelectOption key={m.name} value={m.name} label={m.displayName} />
                  ))}
                </FormSelect>
              </div>
              <FilterList key={mesh} mesh={mesh} />
            </div>
          )
        }}
      </Loaded>
    </Screen>
  )
}
