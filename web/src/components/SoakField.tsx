import { Form, FormGroup } from '@pf/Form'
import { NumberInput } from '@pf/NumberInput'
import { useTexts } from '../preferences'

/** How long (minutes) an old istiod stays scaled to zero unless somebody says otherwise. */
export const usualSoak = 5

const longest = 7 * 24 * 60

const bounded = (n: number) => Math.min(longest, Math.max(0, Math.round(n) || 0))

/** Asks how long (minutes) an old istiod is watched before it is uninstalled. */
export function SoakField({ minutes, onChange }: { minutes: number; onChange: (minutes: number) => void }) {
  const t = useTexts()
  return (
    <Form onSubmit={(e) => e.preventDefault()}>
      <FormGroup label={t.upgrade.soak} fieldId="soak">
        <NumberInput
          inputProps={{ id: 'soak' }}
          inputAriaLabel={t.upgrade.soak}
          minusBtnAriaLabel={t.upgrade.soakLess}
          plusBtnAriaLabel={t.upgrade.soakMore}
          min={0}
          max={longest}
          value={minutes}
          onMinus={() => onChange(bounded(minutes - 1))}
          onPlus={() => onChange(bounded(minutes + 1))}
          onChange={(e) => onChange(bounded(Number(e.currentTarget.value)))}
        />
      </FormGroup>
    </Form>
  )
}
