import { Form, FormGroup, FormHelperText } from '@pf/Form'
import { HelperText, HelperTextItem } from '@pf/HelperText'
import { TextArea } from '@pf/TextArea'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, call } from '../../api/client'
import { keys } from '../../api/keys'
import { ConfirmModal } from '../../components/ConfirmModal'
import { useTexts } from '../../preferences'
import { Verdict } from './FilterList'
import type { EnvoyFilter } from './reads'

/** Records that this content was checked for the new version: by whom, and with what result. */
export function HandledModal({ filter: f, mesh, onClose }: { filter: EnvoyFilter; mesh: string; onClose: () => void }) {
  const t = useTexts()
  const client = useQueryClient()
  const [note, setNote] = useState('')
  const { cluster, namespace, name, hash } = f
  const act = async () => {
    await call(api.POST('/api/v1/clusters/{cluster}/envoyfilters/{namespace}/{name}/handled', { params: { path: { cluster, namespace, name } }, body: { hash, note: note || undefined } }))
    await Promise.all([keys.cluster(cluster), keys.mesh(mesh)].map((queryKey) => client.invalidateQueries({ queryKey })))
  }
  return (
    <ConfirmModal title={t.envoyFilters.handleTitle(name)} variant="medium" onConfirm={act} onClose={onClose}>
      <p>{t.envoyFilters.handleBody(f.creator ?? t.envoyFilters.itsCreator, f.target ?? '')}</p>
      <div>
        <Verdict filter={f} />
      </div>
      <Form onSubmit={(e) => e.preventDefault()}>
        <FormGroup label={t.envoyFilters.note} fieldId="note">
          <TextArea id="note" value={note} maxLength={1024} resizeOrientation="vertical" onChange={(_, v) => setNote(v)} />
          <FormHelperText>
            <HelperText>
              <HelperTextItem>{t.envoyFilters.noteHelp}</HelperTextItem>
            </HelperText>
          </FormHelperText>
        </FormGroup>
      </Form>
    </ConfirmModal>
  )
}
