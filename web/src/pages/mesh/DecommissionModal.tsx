import { useState } from 'react'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { SoakField, usualSoak } from '../../components/SoakField'
import { useTexts } from '../../preferences'
import { Blockers } from './Blockers'
import { useClusterActions, useUpgrade, type Cluster } from './reads'

/** Either what still uses the old version, with links, or the consequence and Confirm. */
export function DecommissionModal({ cluster, onClose }: { cluster: Cluster; onClose: () => void }) {
  const t = useTexts()
  const query = useUpgrade(cluster.name)
  const { decommission } = useClusterActions(cluster)
  const [soak, setSoak] = useState(usualSoak)
  const upgrade = query.data
  const possible = upgrade !== undefined && upgrade.blockers.length === 0 && cluster.actions.decommission.allowed
  return (
    <ConfirmModal variant="medium" danger title={t.upgrade.decommissionTitle(cluster.name)} confirm={t.common.confirm} withoutConfirm={!possible} onClose={onClose} onConfirm={() => decommission(soak)}>
      {cluster.actions.decommission.reason && <SentenceAlert of={cluster.actions.decommission.reason} variant="warning" />}
      <Loaded query={query}>
        {(u) =>
          u.blockers.length > 0 ? (
            <>
              <p>{t.upgrade.remaining}</p>
              <Blockers level="h2" cluster={cluster.name} blockers={u.blockers} omitted={u.blockersOmitted} />
            </>
          ) : (
            <>
              <p>{t.upgrade.decommissionBody(u.from ?? '')}</p>
              {possible && <SoakField minutes={soak} onChange={setSoak} />}
            </>
          )
        }
      </Loaded>
    </ConfirmModal>
  )
}
