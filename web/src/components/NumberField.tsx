import { Form, FormGroup } from '@pf/Form'
import { NumberInput } from '@pf/NumberInput'

interface Props {
  id: string
  label: string
  less: string
  more: string
  min: number
  max: number
  value: number
  onChange: (value: number) => void
}

/** Asks for one number within bounds; what is no number is the smallest one. */
export function NumberField({ id, label, less, more, min, max, value, onChange }: Props) {
  const set = (n: number) => onChange(Math.min(max, Math.max(min, n || min)))
  return (
    <Form onSubmit={(e) => e.preventDefault()}>
      <FormGroup label={label} fieldId={id}>
        <NumberInput
          inputProps={{ id }}
          inputAriaLabel={label}
          minusBtnAriaLabel={less}
          plusBtnAriaLabel={more}
          min={min}
          max={max}
          value={value}
          onMinus={() => set(value - 1)}
          onPlus={() => set(value + 1)}
          onChange={(e) => set(Number(e.currentTarget.value))}
        />
      </FormGroup>
    </Form>
  )
}
