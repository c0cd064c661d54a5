import { Button } from '@pf/Button'
import { List, ListItem } from '@pf/List'
import { Title } from '@pf/Title'
import ArrowCircleUpIcon from '@icons/arrow-circle-up-icon'
import { useState } from 'react'
import type { Schemas } from '../../api/client'
import { useCluster } from '../../api/reads'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Empty } from '../../components/Empty'
import { GateButton } from '../../components/GateButton'
import { HistoryTable } from '../../components/HistoryTable'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { StateLabel } from '../../components/StateLabel'
import { useTexts } from '../../preferences'
import { Blockers } from '../mesh/Blockers'
import { DecommissionModal } from '../mesh/DecommissionModal'
import { UpgradeModal } from '../mesh/UpgradeModal'
import { useClusterActions, useUpgrade, type Cluster } from '../mesh/reads'
import { useClusterName } from './ClusterPage'

/** The upgrade of one cluster in its five steps. */
export function Upgrade() {
  return <Loaded query={useCluster(useClusterName())}>{(c) => <OfCluster cluster={c} />}</Loaded>
}

function OfCluster({ cluster: c }: { cluster: Cluster }) {
  const t = useTexts()
  const [starting, setStarting] = useState(false)
  const query = useUpgrade(c.name, c.upgrade !== undefined)
  const start = (
    <GateButton may={c.actions.upgrade} icon={<ArrowCircleUpIcon />} onClick={() => setStarting(true)}>
      {t.upgrade.upgrade}
    </GateButton>
  )
  return (
    <div className="ml-stack">
      {c.upgrade === undefined ? (
        <Empty title={t.upgrade.none} actions={start}>
          {t.upgrade.noneBody}
        </Empty>
      ) : (
        <Loaded query={query}>
          {(u) => (
            <>
              {u.finished && c.upgradeTo.length > 0 && <div>{start}</div>}
              <Running cluster={c} upgrade={u} />
            </>
          )}
        </Loaded>
      )}
      {starting && <UpgradeModal cluster={c} onClose={() => setStarting(false)} />}
    </div>
  )
}

function Running({ cluster: c, upgrade: u }: { cluster: Cluster; upgrade: Schemas['ClusterUpgrade'] }) {
  const t = useTexts()
  const { pause, resume, withdraw } = useClusterActions(c)
  const [asked, setAsked] = useState<'decommission' | 'withdraw'>()
  const [error, setError] = useState<unknown>()
  const toggle = async () => {
    setError(undefined)
    await (u.paused ? resume() : pause()).catch(setError)
  }
  return (
    <>
      <div className="ml-head-row">
        <div className="ml-labels">
          <Title headingLevel="h2" size="lg">
            {t.upgrade.from(u.from ?? '', u.to)}
          </Title>
          <span className="ml-muted">{t.common.moved(u.moved, u.total)}</span>
        </div>
        <div className="ml-head-actions">
          <Button component="a" variant="link" href={`/api/v1/clusters/${c.name}/upgrade/report`} target="_blank" rel="noreferrer">
            {t.upgrade.report}
          </Button>
          {!u.finished && (
            <>
              <Button variant="secondary" onClick={() => void toggle()}>
                {u.paused ? t.upgrade.resume : t.upgrade.pause}
              </Button>
              {u.decommissionRequested ? (
                <Button variant="secondary" onClick={() => setAsked('withdraw')}>
                  {t.upgrade.withdraw}
                </Button>
              ) : (
                <Button variant="danger" onClick={() => setAsked('decommission')}>
                  {t.upgrade.decommission}
                </Button>
              )}
            </>
          )}
        </div>
      </div>
      {error !== undefined && <SentenceAlert of={error} />}
      {u.refusal && <SentenceAlert of={u.refusal} />}
      {u.decommission && <p className="ml-muted">{t.upgrade.requested(u.decommission.by)}</p>}
      <List isPlain isBordered aria-label={t.steps.label}>
        {u.steps.map((s) => (
          <ListItem key={s.number}>
            <div className="ml-labels">
              <span className="ml-strong">{t.steps.step(s.number, t.steps.names[s.number - 1] ?? s.title)}</span>
              <StateLabel state={s.state} />
              {s.message && <span className="ml-sentence">{s.message}</span>}
            </div>
          </ListItem>
        ))}
      </List>
      {!u.finished && (
        <section>
          <Title headingLevel="h2" size="lg">
            {t.upgrade.blockers}
          </Title>
          {u.blockers.length === 0 ? <p className="ml-muted">{t.upgrade.noBlockers}</p> : <Blockers level="h3" cluster={c.name} blockers={u.blockers} omitted={u.blockersOmitted} />}
        </section>
      )}
      {u.history.length > 0 && (
        <section>
          <Title headingLevel="h2" size="lg">
            {t.upgrade.history}
          </Title>
          <HistoryTable history={u.history} label={t.upgrade.history} />
        </section>
      )}
      {asked === 'decommission' && <DecommissionModal cluster={c} onClose={() => setAsked(undefined)} />}
      {asked === 'withdraw' && (
        <ConfirmModal title={t.upgrade.withdrawTitle} onClose={() => setAsked(undefined)} onConfirm={withdraw}>
          {t.upgrade.withdrawBody}
        </ConfirmModal>
      )}
    </>
  )
}
