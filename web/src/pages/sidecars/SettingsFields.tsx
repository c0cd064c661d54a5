import type { ReactNode } from 'react'
import { FormFieldGroup, FormFieldGroupHeader, FormGroup, FormHelperText } from '@pf/Form'
import { FormSelect, FormSelectOption } from '@pf/FormSelect'
import { HelperText, HelperTextItem } from '@pf/HelperText'
import { TextInput } from '@pf/TextInput'
import { useTexts } from '../../preferences'
import { levels, wrong, type Field, type Fields } from './settings'

interface Props {
  /** Begins the ids of the fields. */
  id: string
  title: string
  fields: Fields
  onChange: (f: Fields) => void
  actions?: ReactNode
  /** It can only be looked at. */
  frozen: boolean
}

/** The fields of the settings of all namespaces, or of one. */
export function SettingsFields({ id, title, fields, onChange, actions, frozen }: Props) {
  const t = useTexts()
  const bad = wrong(fields)
  const group = (name: Field, input: ReactNode) => (
    <FormGroup key={name} label={t.sidecars.fields[name]} fieldId={`${id}-${name}`}>
      {input}
      <FormHelperText>
        <HelperText>
          <HelperTextItem variant={bad.includes(name) ? 'error' : 'default'}>{bad.includes(name) ? t.sidecars.wrong(t.sidecars.help[name]) : t.sidecars.help[name]}</HelperTextItem>
        </HelperText>
      </FormHelperText>
    </FormGroup>
  )
  const text = (name: Field) =>
    group(
      name,
      <TextInput
        id={`${id}-${name}`}
        value={fields[name]}
        readOnlyVariant={frozen ? 'default' : undefined}
        validated={bad.includes(name) ? 'error' : 'default'}
        onChange={(_, v) => onChange({ ...fields, [name]: v })}
      />,
    )
  const choice = (name: Field, options: [string, string][]) =>
    group(
      name,
      <FormSelect id={`${id}-${name}`} value={fields[name]} isDisabled={frozen} onChange={(_, v) => onChange({ ...fields, [name]: v })}>
        <FormSelectOption value="" label={t.sidecars.notSet} />
        {options.map(([value, label]) => (
          <FormSelectOption key={value} value={value} label={label} />
        ))}
      </FormSelect>,
    )
  return (
    <FormFieldGroup header={<FormFieldGroupHeader titleText={{ text: title, id: `${id}-title` }} actions={actions} />}>
      <div className="ml-fields">
        {(['requestsCpu', 'requestsMemory', 'limitsCpu', 'limitsMemory', 'concurrency'] as const).map(text)}
        {choice('logLevel', levels.map((l) => [l, l]))}
        {choice('hold', [
          ['true', t.sidecars.yes],
          ['false', t.sidecars.no],
        ])}
        {text('drain')}
        {(['includeOutboundIPRanges', 'excludeOutboundIPRanges', 'includeInboundPorts', 'excludeInboundPorts', 'excludeOutboundPorts'] as const).map(text)}
      </div>
    </FormFieldGroup>
  )
}
