import { Screen } from '../components/Screen'
import { useTexts } from '../preferences'

/** The EnvoyFilters of a mesh. */
export function EnvoyFilters() {
  const t = useTexts()
  return <Screen title={t.shell.envoyFilters}>{null}</Screen>
}
