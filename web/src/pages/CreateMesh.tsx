import { Form, FormGroup, FormHelperText } from '@pf/Form'
import { TextInput } from '@pf/TextInput'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, call } from '../api/client'
import { keys } from '../api/keys'
import { ConfirmModal } from '../components/ConfirmModal'
import { useTexts } from '../preferences'

/** Makes a mesh without clusters. */
export function CreateMesh({ onClose }: { onClose: () => void }) {
  const t = useTexts()
  const queries = useQueryClient()
  const [name, setName] = useState('')
  const [displayName, setDisplayName] = useState('')
  const create = async () => {
    await call(api.POST('/api/v1/meshes', { body: { name, ...(displayName ? { displayName } : {}) } }))
    await queries.invalidateQueries({ queryKey: keys.meshes })
  }
  return (
    <ConfirmModal title={t.meshes.createTitle} confirm={t.meshes.create} onConfirm={create} onClose={onClose} may={name === '' ? { allowed: false, reason: t.meshes.nameHelp } : undefined}>
      <p>{t.meshes.createBody}</p>
      <Form onSubmit={(e) => e.preventDefault()}>
        <FormGroup label={t.meshes.name} fieldId="name" isRequired>
          <TextInput id="name" value={name} onChange={(_, v) => setName(v)} isRequired maxLength={63} autoFocus />
          <FormHelperText>
            <span className="ml-muted ml-small">{t.meshes.nameHelp}</span>
          </FormHelperText>
        </FormGroup>
        <FormGroup label={t.meshes.displayName} fieldId="display-name">
          <TextInput id="display-name" value={displayName} onChange={(_, v) => setDisplayName(v)} maxLength={128} />
        </FormGroup>
      </Form>
    </ConfirmModal>
  )
}
