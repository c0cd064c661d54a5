import { Alert } from '@pf/Alert'
import { DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm } from '@pf/DescriptionList'
import { FormSelect, FormSelectOption } from '@pf/FormSelect'
import { List, ListItem } from '@pf/List'
import { useState, type ReactNode } from 'react'
import type { Schemas } from '../../api/client'
import { ConfirmModal } from '../../components/ConfirmModal'
import { Loaded } from '../../components/Loaded'
import { SentenceAlert } from '../../components/SentenceAlert'
import { useTexts } from '../../preferences'
import { useClusterActions, useProposal, type Cluster } from './reads'

/** What an upgrade would do and what not, then asks. */
export function UpgradeModal({ cluster, onClose }: { cluster: Cluster; onClose: () => void }) {
  const t = useTexts()
  const [chosen, setChosen] = useState<string>()
  const query = useProposal(cluster.name, chosen)
  const { start } = useClusterActions(cluster)
  const proposal = query.data
  return (
    <ConfirmModal
      variant="medium"
      title={t.upgrade.title(cluster.name)}
      withoutConfirm={!proposal || proposal.refusal !== undefined}
      may={cluster.actions.upgrade}
      onClose={onClose}
      onConfirm={() => start(proposal?.version ?? '')}
    >
      <Loaded query={query}>{(p) => <Proposed proposal={p} onChoose={setChosen} />}</Loaded>
    </ConfirmModal>
  )
}

function Proposed({ proposal: p, onChoose }: { proposal: Schemas['Proposal']; onChoose: (version: string) => void }) {
  const t = useTexts()
  return (
    <>
      {p.refusal && <SentenceAlert of={p.refusal} />}
      <DescriptionList isHorizontal isCompact>
        {p.offered.length > 1 && (
          <Row name={t.upgrade.version}>
            <FormSelect aria-label={t.upgrade.version} value={p.version} onChange={(_, v) => onChoose(v)}>
              {p.offered.map((v) => (
                <FormSelectOption key={v} value={v} label={v} />
              ))}
            </FormSelect>
          </Row>
        )}
        <Row name={t.upgrade.path}>{`Istio ${p.from} (${p.fromRevision}) → ${p.to} (${p.toRevision})`}</Row>
        <Row name={t.upgrade.kubernetes}>{p.supported ? t.upgrade.supported(p.kubernetes) : t.upgrade.unsupported(p.kubernetes)}</Row>
      </DescriptionList>
      {!p.refusal && (
        <>
          <Sentences title={t.upgrade.will} all={p.steps.map((s) => s.message ?? s.title)} ordered />
          <p>
            {t.upgrade.dataPlanes(p.sidecars, p.gateways)}
            {p.envoyFilters > 0 && ` · ${t.upgrade.filters(p.envoyFilters)}`}
          </p>
          {p.untouched.length > 0 && <Sentences title={t.upgrade.willNot} all={p.untouched} />}
          {p.warnings.length > 0 && (
            <Alert variant="warning" isInline title={t.upgrade.warnings} component="h2">
              <Sentences all={p.warnings} />
            </Alert>
          )}
          <p className="ml-strong">{t.upgrade.consequence}</p>
        </>
      )}
    </>
  )
}

function Row({ name, children }: { name: string; children: ReactNode }) {
  return (
    <DescriptionListGroup>
      <DescriptionListTerm>{name}</DescriptionListTerm>
      <DescriptionListDescription>{children}</DescriptionListDescription>
    </DescriptionListGroup>
  )
}

function Sentences({ title, all, ordered }: { title?: string; all: string[]; ordered?: boolean }) {
  return (
    <div>
      {title && <h2 className="ml-strong">{title}</h2>}
      <List component={ordered ? 'ol' : 'ul'}>
        {all.map((text) => (
          <ListItem key={text}>{text}</ListItem>
        ))}
      </List>
    </div>
  )
}
