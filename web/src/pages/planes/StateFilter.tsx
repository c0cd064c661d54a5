import { FormSelect, FormSelectOption } from '@pf/FormSelect'
import type { List } from '../../components/useList'
import { useTexts } from '../../preferences'
import type { DataPlane } from './reads'

const states: DataPlane['state'][] = ['Pending', 'Moving', 'Moved', 'Failed', 'Excluded', 'Unsupported', 'Current']

/** Only data planes of one state. */
export function StateFilter({ list }: { list: List }) {
  const t = useTexts()
  return (
    <FormSelect aria-label={t.plane.state} value={list.filter('state') ?? ''} onChange={(_, v) => list.setFilter('state', v)}>
      <FormSelectOption value="" label={t.plane.anyState} />
      {states.map((s) => (
        <FormSelectOption key={s} value={s} label={t.states[s]} />
      ))}
    </FormSelect>
  )
}

/** The state in the address, when it is one. */
export const stateIn = (list: List): DataPlane['state'] | undefined => states.find((s) => s === list.filter('state'))
