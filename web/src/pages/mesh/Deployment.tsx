import { Button } from '@pf/Button'
import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import ArrowCircleUpIcon from '@icons/arrow-circle-up-icon'
import ClusterIcon from '@icons/cluster-icon'
import { useState } from 'react'
import { Link } from 'react-router'
import { useMesh } from '../../api/reads'
import { Command } from '../../components/Command'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { StateLabel } from '../../components/StateLabel'
import { StepIndicator } from '../../components/StepIndicator'
import { useTexts } from '../../preferences'
import { DecommissionModal } from './DecommissionModal'
import { useMeshName } from './MeshPage'
import { UpgradeModal } from './UpgradeModal'
import type { Cluster, Mesh } from './reads'

/** The clusters of a mesh: where each is, Upgrade and Decommission Old Version. */
export function Deployment() {
  return <Loaded query={useMesh(useMeshName())}>{(mesh) => <Clusters mesh={mesh} />}</Loaded>
}

type Asked = { what: 'add' } | { what: 'upgrade' | 'decommission'; cluster: string }

function Clusters({ mesh }: { mesh: Mesh }) {
  const t = useTexts()
  const [asked, setAsked] = useState<Asked>()
  const close = () => setAsked(undefined)
  const about = asked && asked.what !== 'add' ? mesh.clusterList.find((c) => c.name === asked.cluster) : undefined
  const add = (
    <GateButton may={mesh.actions.addCluster} variant="secondary" onClick={() => setAsked({ what: 'add' })}>
      {t.mesh.addCluster}
    </GateButton>
  )
  return (
    <div className="ml-stack">
      {mesh.frozenMessage && <SentenceAlert of={mesh.frozenMessage} variant="info" />}
      {mesh.clusterList.length === 0 ? (
        <Empty title={t.mesh.empty} icon={ClusterIcon} actions={add}>
          {t.mesh.emptyBody}
        </Empty>
      ) : (
        <>
          <div>{add}</div>
          <ClusterTable clusters={mesh.clusterList} onAsk={setAsked} />
        </>
      )}
      {asked?.what === 'add' && (
        <ConfirmModal variant="medium" title={t.mesh.addTitle(mesh.displayName)} withoutConfirm onClose={close} onConfirm={() => Promise.resolve()}>
          <p>{t.mesh.addBody}</p>
          <Command label={t.mesh.addCommand}>{`meshlift cluster add NAME --mesh ${mesh.name} --kubeconfig FILE`}</Command>
        </ConfirmModal>
      )}
      {about && asked?.what === 'upgrade' && <UpgradeModal cluster={about} onClose={close} />}
      {about && asked?.what === 'decommission' && <DecommissionModal cluster={about} onClose={close} />}
    </div>
  )
}

function ClusterTable({ clusters, onAsk }: { clusters: Cluster[]; onAsk: (asked: Asked) => void }) {
  const t = useTexts()
  const heads = [t.mesh.cluster, t.mesh.connection, t.mesh.kubernetes, t.mesh.istio, t.mesh.steps, t.mesh.attention]
  return (
    <Table aria-label={t.mesh.deployment} variant="compact">
      <Thead>
        <Tr>
          {heads.map((h) => (
            <Th key={h}>{h}</Th>
          ))}
        </Tr>
      </Thead>
      <Tbody>
        {clusters.map((c) => (
          <Tr key={c.name}>
            <Td dataLabel={heads[0]}>
              <Link to={`/clusters/${c.name}`} className="ml-strong">
                {c.name}
              </Link>
            </Td>
            <Td dataLabel={heads[1]}>
              <StateLabel state={c.connection} />
            </Td>
            <Td dataLabel={heads[2]} className="ml-nowrap">
              {c.kubernetes ?? t.common.unknown}
            </Td>
            <Td dataLabel={heads[3]}>
              <Versions cluster={c} onAsk={onAsk} />
            </Td>
            <Td dataLabel={heads[4]}>{c.upgrade && !c.upgrade.finished && <StepIndicator steps={c.upgrade.steps} />}</Td>
            <Td dataLabel={heads[5]} className="ml-sentence">
              {c.message ?? <span className="ml-muted">{t.mesh.fine}</span>}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}

/** The versions that run, with what can be done about them at their right. */
function Versions({ cluster: c, onAsk }: { cluster: Cluster; onAsk: (asked: Asked) => void }) {
  const t = useTexts()
  const running = c.upgrade !== undefined && !c.upgrade.finished
  return (
    <div className="ml-labels">
      <span className="ml-nowrap">{c.istioVersions ?? (c.revisions.map((r) => r.version).join(', ') || t.common.unknown)}</span>
      {!running && c.upgradeTo.length > 0 && (
        <GateButton may={c.actions.upgrade} variant="link" isInline icon={<ArrowCircleUpIcon />} aria-label={`${t.upgrade.upgrade} ${c.name}`} onClick={() => onAsk({ what: 'upgrade', cluster: c.name })}>
          {t.upgrade.upgrade}
        </GateButton>
      )}
      {running && (
        <Button variant="link" isInline aria-label={`${t.upgrade.decommission} ${c.name}`} onClick={() => onAsk({ what: 'decommission', cluster: c.name })}>
          {t.upgrade.decommission}
        </Button>
      )}
    </div>
  )
}
