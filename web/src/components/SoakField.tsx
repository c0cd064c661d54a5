import { useTexts } from '../preferences'
import { NumberField } from './NumberField'

/** How long (minutes) an old istiod stays scaled to zero unless somebody says otherwise. */
export const usualSoak = 5

const longest = 7 * 24 * 60

/** Asks how long (minutes) an old istiod is watched before it is uninstalled. */
export function SoakField({ minutes, onChange }: { minutes: number; onChange: (minutes: number) => void }) {
  const { upgrade: t } = useTexts()
  return <NumberField id="soak" label={t.soak} less={t.soakLess} more={t.soakMore} min={0} max={longest} value={minutes} onChange={(n) => onChange(Math.round(n))} />
}
