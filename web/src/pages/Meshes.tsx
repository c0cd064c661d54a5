import { Button } from '@pf/Button'
import { Label } from '@pf/Label'
import { Progress } from '@pf/Progress'
import { Tooltip } from '@pf/Tooltip'
import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import ArrowCircleUpIcon from '@icons/arrow-circle-up-icon'
import ClusterIcon from '@icons/cluster-icon'
import SnowflakeIcon from '@icons/snowflake-icon'
import { useState } from 'react'
import { Link } from 'react-router'
import type { Schemas } from '../api/client'
import { useMeshes } from '../api/reads'
import { Empty } from '../components/Empty'
import { ListToolbar, NoMatch } from '../components/ListToolbar'
import { Loaded } from '../components/Loaded'
import { Screen } from '../components/Screen'
import { useList } from '../components/useList'
import { useTexts } from '../preferences'
import { CreateMesh } from './CreateMesh'

/** All meshes: clusters, versions, how far upgrades are, what needs attention. */
export function Meshes() {
  const t = useTexts()
  const list = useList()
  const [creating, setCreating] = useState(false)
  const query = useMeshes({ search: list.search, limit: list.limit, continue: list.token })
  const create = (
    <Button variant="secondary" onClick={() => setCreating(true)}>
      {t.meshes.create}
    </Button>
  )
  return (
    <Screen title={t.meshes.title} actions={create}>
      <Loaded query={query}>
        {(page) =>
          page.total === 0 && !list.filtered ? (
            <Empty title={t.meshes.empty} icon={ClusterIcon} actions={create}>
              {t.meshes.emptyBody}
            </Empty>
          ) : (
            <>
              <ListToolbar list={list} page={page} placeholder={t.meshes.search} />
              {page.items.length === 0 ? <NoMatch list={list} /> : <Rows meshes={page.items} />}
            </>
          )
        }
      </Loaded>
      {creating && <CreateMesh onClose={() => setCreating(false)} />}
    </Screen>
  )
}

function Rows({ meshes }: { meshes: Schemas['Mesh'][] }) {
  const t = useTexts()
  const heads = [t.meshes.mesh, t.meshes.clusters, t.meshes.istio, t.meshes.upgrade, t.meshes.attention]
  return (
    <Table aria-label={t.meshes.title} variant="compact">
      <Thead>
        <Tr>
          {heads.map((h) => (
            <Th key={h}>{h}</Th>
          ))}
        </Tr>
      </Thead>
      <Tbody>
        {meshes.map((m) => (
          <Tr key={m.name}>
            <Td dataLabel={heads[0]}>
              <Link to={`/meshes/${m.name}`} className="ml-strong">
                {m.displayName}
              </Link>
              {m.displayName !== m.name && <div className="ml-muted ml-small">{m.name}</div>}
            </Td>
            <Td dataLabel={heads[1]}>{t.meshes.connected(m.connected, m.clusters)}</Td>
            <Td dataLabel={heads[2]} className="ml-nowrap">
              {m.istioVersions || <span className="ml-muted">{t.common.unknown}</span>}
            </Td>
            <Td dataLabel={heads[3]}>
              <UpgradeState mesh={m} />
            </Td>
            <Td dataLabel={heads[4]} className="ml-sentence">
              {m.message ?? <span className="ml-muted">{t.meshes.fine}</span>}
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}

/** The upgrade that runs, else what is on offer. */
function UpgradeState({ mesh: m }: { mesh: Schemas['Mesh'] }) {
  const t = useTexts()
  const u = m.upgrade
  return (
    <div className="ml-labels">
      {u && !u.done && (
        <div className="ml-progress">
          <Progress
            size="sm"
            title={`${t.meshes.running(u.version)}${u.paused ? ` (${t.meshes.paused})` : ''}`}
            value={u.total === 0 ? 0 : Math.round((100 * u.moved) / u.total)}
            label={t.meshes.moved(u.moved, u.total)}
            aria-label={t.meshes.running(u.version)}
          />
        </div>
      )}
      {(!u || u.done) &&
        (m.upgradeable.length > 0 ? (
          <Label color="teal" icon={<ArrowCircleUpIcon />} isCompact variant="outline">
            {t.meshes.upgradeable(m.upgradeable.join(', '))}
          </Label>
        ) : (
          <span className="ml-muted">{u ? t.meshes.done(u.version) : t.meshes.newest}</span>
        ))}
      {m.frozen && (
        <Tooltip content={m.frozenMessage}>
          <Label color="blue" icon={<SnowflakeIcon />} isCompact tabIndex={0}>
            {t.meshes.frozen}
          </Label>
        </Tooltip>
      )}
    </div>
  )
}
