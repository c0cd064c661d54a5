import { List, ListItem } from '@pf/List'
import { Title } from '@pf/Title'
import { Link } from 'react-router'
import type { Schemas } from '../../api/client'
import { useTexts } from '../../preferences'

type Blocker = Schemas['Blocker']

/** Where the user can do something about it. */
function placeOf(cluster: string, b: Blocker): string | undefined {
  switch (b.category) {
    case 'Sidecar':
      return b.namespace && `/clusters/${cluster}/namespaces/${b.namespace}?search=${encodeURIComponent(b.name)}`
    case 'IngressGateway':
    case 'EgressGateway':
    case 'Gateway':
      return `/clusters/${cluster}/gateways?search=${encodeURIComponent(b.name)}`
    default:
      return undefined
  }
}

interface Props {
  cluster: string
  blockers: Blocker[]
  omitted: number
  /** Level of its headings: one below what it is in. */
  level: 'h2' | 'h3'
}

/** What still needs the old istiod, by what it is, with a way to it. */
export function Blockers({ cluster, blockers, omitted, level }: Props) {
  const t = useTexts()
  const categories = Object.keys(t.upgrade.categories) as Blocker['category'][]
  return (
    <div className="ml-stack">
      {categories
        .map((category) => ({ category, all: blockers.filter((b) => b.category === category) }))
        .filter(({ all }) => all.length > 0)
        .map(({ category, all }) => (
          <section key={category}>
            <Title headingLevel={level} size="md">
              {t.upgrade.categories[category]}
            </Title>
            <List>
              {all.map((b) => {
                const to = placeOf(cluster, b)
                const name = [b.namespace, b.kind, b.name].filter(Boolean).join('/')
                return (
                  <ListItem key={`${name} ${b.message}`}>
                    {to ? <Link to={to}>{name}</Link> : name}
                    <span className="ml-muted"> {b.message}</span>
                  </ListItem>
                )
              })}
            </List>
          </section>
        ))}
      {omitted > 0 && <p>{t.upgrade.others(omitted)}</p>}
    </div>
  )
}
