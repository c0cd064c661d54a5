import { Button } from '@pf/Button'
import { ActionGroup, Form } from '@pf/Form'
import { InputGroup, InputGroupItem } from '@pf/InputGroup'
import { TextInput } from '@pf/TextInput'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'
import { ConfirmModal } from '../../components/ConfirmModal'
import { GateButton } from '../../components/GateButton'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { useTexts } from '../../preferences'
import { SettingsFields } from '../sidecars/SettingsFields'
import { fieldsOf, settingsOf, wrong, type Configuration, type Fields } from '../sidecars/settings'
import { useMeshName } from './MeshPage'

/** The configuration of the sidecars of a mesh: for all namespaces, and for single ones. */
export function Sidecars() {
  const mesh = useMeshName()
  const sidecars = useQuery({
    queryKey: [...keys.mesh(mesh), 'sidecars'],
    queryFn: ({ signal }) => call(api.GET('/api/v1/meshes/{mesh}/sidecars', { params: { path: { mesh } }, signal })),
  })
  return <Loaded query={sidecars}>{(s) => <Edit key={JSON.stringify(s.configuration)} mesh={mesh} sidecars={s} />}</Loaded>
}

interface Special {
  namespace: string
  fields: Fields
}

function Edit({ mesh, sidecars: s }: { mesh: string; sidecars: Schemas['Sidecars'] }) {
  const t = useTexts()
  const client = useQueryClient()
  const before = s.configuration as Configuration
  const [all, setAll] = useState(() => fieldsOf(before))
  const [special, setSpecial] = useState<Special[]>(() => (before.namespaces ?? []).map((n) => ({ namespace: n.namespace, fields: fieldsOf(n) })))
  const [saving, setSaving] = useState(false)
  const wish: Configuration = {
    ...settingsOf(all, before),
    namespaces: special.map(({ namespace, fields }) => ({ ...settingsOf(fields, before.namespaces?.find((n) => n.namespace === namespace) ?? {}), namespace })),
  }
  const frozen = !s.change.allowed
  const bad = [all, ...special.map((n) => n.fields)].some((f) => wrong(f).length > 0)
  const changed = JSON.stringify([all, special]) !== JSON.stringify([fieldsOf(before), (before.namespaces ?? []).map((n) => ({ namespace: n.namespace, fields: fieldsOf(n) }))])
  const may = frozen ? s.change : bad ? { allowed: false, reason: t.sidecars.mend } : changed ? s.change : { allowed: false, reason: t.sidecars.unchanged }
  const save = async () => {
    await call(api.PUT('/api/v1/meshes/{mesh}/sidecars', { params: { path: { mesh } }, body: wish as Record<string, unknown> }))
    await client.invalidateQueries({ queryKey: keys.mesh(mesh) })
  }
  return (
    <div className="ml-stack">
      {frozen && <SentenceAlert variant="warning" of={s.change.reason ?? ''} />}
      {!frozen && s.message && <SentenceAlert variant={s.configured ? 'success' : 'info'} of={s.message} />}
      <p className="ml-muted">{t.sidecars.intro}</p>
      <Form onSubmit={(e) => e.preventDefault()}>
        <SettingsFields id="all" title={t.sidecars.all} fields={all} onChange={setAll} frozen={frozen} />
        {special.map(({ namespace, fields }, n) => (
          <SettingsFields
            key={namespace}
            id={namespace}
            title={t.sidecars.ofNamespace(namespace)}
            fields={fields}
            frozen={frozen}
            onChange={(f) => setSpecial(special.with(n, { namespace, fields: f }))}
            actions={
              <GateButton may={s.change} variant="link" isDanger onClick={() => setSpecial(special.toSpliced(n, 1))}>
                {t.sidecars.remove}
              </GateButton>
            }
          />
        ))}
        <AddNamespace may={s.change} taken={special.map((n) => n.namespace)} onAdd={(namespace) => setSpecial([...special, { namespace, fields: fieldsOf({}) }])} />
        <ActionGroup>
          <GateButton may={may} variant="primary" onClick={() => setSaving(true)}>
            {t.sidecars.save}
          </GateButton>
          <Button
            variant="link"
            onClick={() => {
              setAll(fieldsOf(before))
              setSpecial((before.namespaces ?? []).map((n) => ({ namespace: n.namespace, fields: fieldsOf(n) })))
            }}
          >
            {t.sidecars.reset}
          </Button>
        </ActionGroup>
      </Form>
      {saving && (
        <ConfirmModal title={t.sidecars.saveTitle(mesh)} onConfirm={save} onClose={() => setSaving(false)}>
          <p>{t.sidecars.saveBody}</p>
        </ConfirmModal>
      )}
    </div>
  )
}

function AddNamespace({ may, taken, onAdd }: { may: Schemas['Availability']; taken: string[]; onAdd: (namespace: string) => void }) {
  const t = useTexts()
  const [name, setName] = useState('')
  const ready = may.allowed && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name) && !taken.includes(name)
  const add = () => {
    if (ready) {
      onAdd(name)
      setName('')
    }
  }
  return (
    <InputGroup className="ml-search">
      <InputGroupItem isFill>
        <TextInput
          aria-label={t.sidecars.namespace}
          placeholder={t.sidecars.namespace}
          value={name}
          onChange={(_, v) => setName(v)}
          onKeyDown={(e) => e.key === 'Enter' && add()}
          readOnlyVariant={may.allowed ? undefined : 'default'}
        />
      </InputGroupItem>
      <InputGroupItem>
        <GateButton may={ready ? may : { allowed: false, reason: may.reason ?? t.sidecars.nameFirst }} variant="control" onClick={add}>
          {t.sidecars.add}
        </GateButton>
      </InputGroupItem>
    </InputGroup>
  )
}
