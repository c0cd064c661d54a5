import { Table, Tbody, Td, Th, Thead, Tr } from '@pf-table'
import { Link } from 'react-router'
import { StateLabel } from '../../components/StateLabel'
import type { Schemas } from '../../api/client'
import { useTexts } from '../../preferences'

/** Namespaces of a cluster with how far they are; each leads to its services. */
export function NamespaceTable({ cluster, namespaces }: { cluster: string; namespaces: Schemas['Namespace'][] }) {
  const t = useTexts()
  return (
    <Table aria-label={t.namespaces.title(cluster)} variant="compact">
      <Thead>
        <Tr>
          <Th>{t.namespaces.namespace}</Th>
          <Th>{t.namespaces.services}</Th>
          <Th>{t.namespaces.gateways}</Th>
          <Th>{t.namespaces.state}</Th>
        </Tr>
      </Thead>
      <Tbody>
        {namespaces.map((n) => (
          <Tr key={n.name}>
            <Td dataLabel={t.namespaces.namespace}>
              <Link to={n.sidecars > 0 ? `/clusters/${cluster}/namespaces/${n.name}` : `/clusters/${cluster}/gateways?search=${n.name}`}>{n.name}</Link>
            </Td>
            <Td dataLabel={t.namespaces.services}>{n.sidecars}</Td>
            <Td dataLabel={t.namespaces.gateways}>{n.gateways}</Td>
            <Td dataLabel={t.namespaces.state}>
              <span className="ml-labels">
                {n.failed > 0 && <StateLabel state="Failed" text={t.namespaces.failed(n.failed)} />}
                {n.moving > 0 && <StateLabel state="Moving" text={t.namespaces.moving(n.moving)} />}
                {n.open > 0 && <StateLabel state="Upgradeable" text={t.namespaces.open(n.open)} />}
                <span className="ml-muted">{t.namespaces.current(n.moved, n.sidecars + n.gateways)}</span>
              </span>
            </Td>
          </Tr>
        ))}
      </Tbody>
    </Table>
  )
}
