import { Alert } from '@pf/Alert'
import { Progress } from '@pf/Progress'
import { useState } from 'react'
import { ConfirmModal } from '../../components/ConfirmModal'
import { GateButton } from '../../components/GateButton'
import { SentenceAlert } from '../../components/SentenceAlert'
import { useTexts } from '../../preferences'
import { useMoves, useRollouts, type Cluster, type Rollout } from './reads'

/** The rollouts of a cluster that are not complete: how far each is, and its switches. */
export function RolloutProgress({ cluster }: { cluster: Cluster }) {
  const { data } = useRollouts(cluster.name)
  return data?.items.filter((r) => !r.complete).map((r) => <One key={r.name} cluster={cluster} rollout={r} />)
}

function One({ cluster, rollout: r }: { cluster: Cluster; rollout: Rollout }) {
  const t = useTexts()
  const moves = useMoves(cluster.name)
  const [stopping, setStopping] = useState(false)
  const [pending, setPending] = useState(false)
  const [error, setError] = useState<unknown>()
  const may = cluster.actions.moveWorkloads
  const toggle = async () => {
    setPending(true)
    setError(undefined)
    try {
      await (r.paused ? moves.resume(r.name) : moves.pause(r.name))
    } catch (e) {
      setError(e)
    } finally {
      setPending(false)
    }
  }
  const counts = t.rollout.counts(r.done, r.total, r.moving, r.failed, r.skipped)
  const title = r.direction === 'Back' ? t.rollout.back : t.rollout.forward
  return (
    <Alert
      isInline
      component="h2"
      variant={r.waits ? 'warning' : 'info'}
      title={r.paused ? `${title} – ${t.rollout.paused}` : title}
      actionLinks={
        <span className="ml-labels">
          <GateButton may={may} variant="secondary" size="sm" isLoading={pending} onClick={() => void toggle()}>
            {r.paused ? t.rollout.resume : t.rollout.pause}
          </GateButton>
          <GateButton may={may} variant="secondary" size="sm" onClick={() => setStopping(true)}>
            {t.rollout.stop}
          </GateButton>
        </span>
      }
    >
      <div className="ml-stack">
        <Progress aria-label={counts} title={counts} value={r.total === 0 ? 0 : Math.floor((100 * (r.done + r.skipped)) / r.total)} size="sm" variant={r.failed > 0 ? 'danger' : undefined} />
        {r.message && <p>{r.message}</p>}
        {error !== undefined && <SentenceAlert of={error} />}
      </div>
      {stopping && (
        <ConfirmModal title={t.rollout.stopTitle} confirm={t.rollout.stop} onConfirm={() => moves.stop(r.name)} onClose={() => setStopping(false)}>
          <p>{t.rollout.stopBody}</p>
        </ConfirmModal>
      )}
    </Alert>
  )
}
