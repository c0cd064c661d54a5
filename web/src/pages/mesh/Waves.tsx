import { Checkbox } from '@pf/Checkbox'
import { FormSelect, FormSelectOption } from '@pf/FormSelect'
import { Label } from '@pf/Label'
import { Title } from '@pf/Title'
import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { useState } from 'react'
import { Link } from 'react-router'
import { useMesh } from '../../api/reads'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { SoakField, usualSoak } from '../../components/SoakField'
import { StateLabel } from '../../components/StateLabel'
import { useTexts } from '../../preferences'
import { useMeshName } from './MeshPage'
import { useMeshActions, useMeshUpgrade, type Mesh, type MeshUpgrade } from './reads'

/** The upgrade of a mesh as a whole, wave by wave. */
export function Waves() {
  const name = useMeshName()
  const upgrade = useMeshUpgrade(name)
  return <Loaded query={useMesh(name)}>{(mesh) => <Loaded query={upgrade}>{(u) => <Fleet mesh={mesh} upgrade={u} />}</Loaded>}</Loaded>
}

function Fleet({ mesh, upgrade: u }: { mesh: Mesh; upgrade: MeshUpgrade | null }) {
  const t = useTexts()
  const [starting, setStarting] = useState(false)
  const start = (
    <GateButton may={mesh.actions.upgrade} onClick={() => setStarting(true)}>
      {t.waves.start}
    </GateButton>
  )
  return (
    <div className="ml-stack">
      {u ? (
        <>
          {u.done && mesh.upgradeable.length > 0 && <div>{start}</div>}
          <Under mesh={mesh} upgrade={u} />
        </>
      ) : (
        <Empty title={t.waves.none} actions={start}>
          {t.waves.noneBody}
        </Empty>
      )}
      {starting && <StartModal mesh={mesh} onClose={() => setStarting(false)} />}
    </div>
  )
}

function Under({ mesh, upgrade: u }: { mesh: Mesh; upgrade: MeshUpgrade }) {
  const t = useTexts()
  const { approve, pause, resume, decommission } = useMeshActions(mesh.name)
  const [asked, setAsked] = useState<{ wave?: string }>()
  const [soak, setSoak] = useState(usualSoak)
  const [error, setError] = useState<unknown>()
  const toggle = async () => {
    setError(undefined)
    await (u.paused ? resume(u.name) : pause(u.name)).catch(setError)
  }
  const heads = [t.mesh.cluster, t.waves.step, t.waves.dataPlanesMoved, t.waves.state]
  return (
    <>
      <div className="ml-head-row">
        <div className="ml-labels">
          <Title headingLevel="h2" size="lg">
            {t.meshes.running(u.version)}
          </Title>
          <span>{t.waves.moved(u.moved, u.total)}</span>
          {u.paused && <Label isCompact>{t.upgrade.paused}</Label>}
        </div>
        {!u.done && (
          <div className="ml-head-actions">
            <GateButton may={u.actions.pause} variant="secondary" onClick={() => void toggle()}>
              {u.paused ? t.waves.resume : t.waves.pause}
            </GateButton>
            <GateButton may={u.actions.decommission} variant="danger" onClick={() => setAsked({})}>
              {t.waves.decommission}
            </GateButton>
          </div>
        )}
      </div>
      {error !== undefined && <SentenceAlert of={error} />}
      {(u.refusal ?? u.message) && <SentenceAlert of={u.refusal ?? u.message} variant={u.refusal ? 'danger' : u.done ? 'success' : 'info'} />}
      {u.decommission && <p className="ml-muted">{t.upgrade.requested(u.decommission.by)}</p>}
      {u.waves.map((w) => (
        <section key={w.name} className="ml-stack">
          <div className="ml-labels">
            <Title headingLevel="h3" size="md">{`${t.waves.wave} ${w.name}`}</Title>
            {w.approvedBy && <span className="ml-muted">{t.waves.approvedBy(w.approvedBy)}</span>}
            {w.approval && !w.approvedBy && (
              <>
                <Label color="orange" isCompact variant="outline">
                  {t.waves.waits}
                </Label>
                <GateButton may={u.actions.approve} variant="secondary" size="sm" onClick={() => setAsked({ wave: w.name })}>
                  {t.waves.approve}
                </GateButton>
              </>
            )}
          </div>
          <Table aria-label={`${t.waves.wave} ${w.name}`} variant="compact">
            <Thead>
              <Tr>
                {heads.map((h) => (
                  <Th key={h}>{h}</Th>
                ))}
              </Tr>
            </Thead>
            <Tbody>
              {w.clusters.map((c) => (
                <Tr key={c.name}>
                  <Td dataLabel={heads[0]}>
                    <Link to={`/clusters/${c.name}`}>{c.name}</Link>
                  </Td>
                  <Td dataLabel={heads[1]}>{c.step}</Td>
                  <Td dataLabel={heads[2]}>{t.waves.dataPlanes(c.moved, c.total)}</Td>
                  <Td dataLabel={heads[3]} className="ml-sentence">
                    <StateLabel state={c.failed ? 'Failed' : c.movedAt ? 'Moved' : c.started ? 'Active' : 'Waiting'} /> {c.message}
                  </Td>
                </Tr>
              ))}
            </Tbody>
          </Table>
        </section>
      ))}
      {asked?.wave !== undefined && (
        <ConfirmModal title={t.waves.approveTitle(asked.wave)} may={u.actions.approve} confirm={t.waves.approve} onClose={() => setAsked(undefined)} onConfirm={() => approve(u.name, asked.wave ?? '')}>
          {t.waves.approveBody}
        </ConfirmModal>
      )}
      {asked && asked.wave === undefined && (
        <ConfirmModal danger title={t.waves.decommissionTitle(mesh.displayName)} may={u.actions.decommission} onClose={() => setAsked(undefined)} onConfirm={() => decommission(u.name, soak)}>
          <p>{t.waves.decommissionBody}</p>
          <SoakField minutes={soak} onChange={setSoak} />
        </ConfirmModal>
      )}
    </>
  )
}

function StartModal({ mesh, onClose }: { mesh: Mesh; onClose: () => void }) {
  const t = useTexts()
  const { start } = useMeshActions(mesh.name)
  const [version, setVersion] = useState(mesh.upgradeable.at(-1) ?? '')
  const [approval, setApproval] = useState(true)
  const [rollout, setRollout] = useState(false)
  const waves = mesh.clusterList.map((c, n) => ({ name: c.name, clusters: [c.name], approval: approval && n > 0 }))
  return (
    <ConfirmModal variant="medium" title={t.waves.startTitle(mesh.displayName)} may={mesh.actions.upgrade} onClose={onClose} onConfirm={() => start({ version, waves, rollout })}>
      <p>{t.waves.startBody}</p>
      <FormSelect aria-label={t.waves.version} value={version} onChange={(_, v) => setVersion(v)}>
        {mesh.upgradeable.map((v) => (
          <FormSelectOption key={v} value={v} label={`Istio ${v}`} />
        ))}
      </FormSelect>
      <Checkbox id="approval" label={t.waves.approval} isChecked={approval} onChange={(_, on) => setApproval(on)} />
      <Checkbox id="rollout" label={t.waves.rollout} isChecked={rollout} onChange={(_, on) => setRollout(on)} />
    </ConfirmModal>
  )
}
