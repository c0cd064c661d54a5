import { CodeBlock, CodeBlockCode } from '@pf/CodeBlock'
import { DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm } from '@pf/DescriptionList'
import { DrawerActions, DrawerCloseButton, DrawerHead, DrawerPanelBody, DrawerPanelContent } from '@pf/Drawer'
import { Title } from '@pf/Title'
import { useQueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { api, call, type Schemas } from '../../api/client'
import { keys } from '../../api/keys'
import { ConfirmModal } from '../../components/ConfirmModal'
import { GateButton } from '../../components/GateButton'
import { Loaded } from '../../components/Loaded'
import { When } from '../../components/When'
import { useTexts } from '../../preferences'
import { Handled, Verdict } from './FilterList'
import { useEnvoyFilter, type EnvoyFilter, type Place } from './reads'

interface Props {
  place: Place
  may: Schemas['Availability']
  onHandle: (f: EnvoyFilter) => void
  onClose: () => void
}

/** One EnvoyFilter beside the list: its content, who wrote it, and whether it was checked. */
export function FilterDetails({ place, may, onHandle, onClose }: Props) {
  const t = useTexts()
  const detail = useEnvoyFilter(place)
  const [takingBack, setTakingBack] = useState(false)
  return (
    <DrawerPanelContent widths={{ default: 'width_50' }} aria-label={t.envoyFilters.details(place.name)}>
      <DrawerHead>
        <Title headingLevel="h2" size="lg">
          {place.name}
        </Title>
        <DrawerActions>
          <DrawerCloseButton aria-label={t.common.close} onClose={onClose} />
        </DrawerActions>
      </DrawerHead>
      <DrawerPanelBody>
        <Loaded query={detail}>
          {(f) => (
            <div className="ml-stack">
              <DescriptionList isHorizontal isCompact>
                <Line name={t.envoyFilters.cluster}>{f.cluster}</Line>
                <Line name={t.envoyFilters.namespace}>{f.namespace}</Line>
                <Line name={t.envoyFilters.creator}>{f.creator ?? t.common.unknown}</Line>
                <Line name={t.envoyFilters.target}>
                  <Verdict filter={f} />
                </Line>
                <Line name={t.envoyFilters.handled}>
                  <Handled filter={f} />
                </Line>
                {f.managers.slice(0, 5).map((m) => (
                  <Line key={`${m.name}/${m.at ?? ''}/${m.operation}`} name={t.envoyFilters.writtenBy}>
                    {m.name} {m.at && <When at={m.at} />}
                  </Line>
                ))}
              </DescriptionList>
              {f.target && (
                <div className="ml-labels">
                  {f.handled ? (
                    <GateButton may={may} variant="secondary" onClick={() => setTakingBack(true)}>
                      {t.envoyFilters.takeBack}
                    </GateButton>
                  ) : (
                    <GateButton may={may} variant="primary" onClick={() => onHandle(f)}>
                      {t.envoyFilters.handle}
                    </GateButton>
                  )}
                </div>
              )}
              <CodeBlock>
                <CodeBlockCode tabIndex={0} role="region" aria-label={t.envoyFilters.content}>
                  {f.yaml}
                </CodeBlockCode>
              </CodeBlock>
              {takingBack && <TakeBack filter={f} onClose={() => setTakingBack(false)} />}
            </div>
          )}
        </Loaded>
      </DrawerPanelBody>
    </DrawerPanelContent>
  )
}

function Line({ name, children }: { name: string; children: ReactNode }) {
  return (
    <DescriptionListGroup>
      <DescriptionListTerm>{name}</DescriptionListTerm>
      <DescriptionListDescription>{children}</DescriptionListDescription>
    </DescriptionListGroup>
  )
}

function TakeBack({ filter: f, onClose }: { filter: EnvoyFilter; onClose: () => void }) {
  const t = useTexts()
  const client = useQueryClient()
  const { cluster, namespace, name } = f
  const act = async () => {
    await call(api.DELETE('/api/v1/clusters/{cluster}/envoyfilters/{namespace}/{name}/handled', { params: { path: { cluster, namespace, name } } }))
    await client.invalidateQueries({ queryKey: keys.cluster(cluster) })
  }
  return (
    <ConfirmModal title={t.envoyFilters.takeBackTitle(name)} onConfirm={act} onClose={onClose}>
      <p>{t.envoyFilters.takeBackBody}</p>
    </ConfirmModal>
  )
}
