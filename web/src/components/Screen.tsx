import { Breadcrumb, BreadcrumbItem } from '@pf/Breadcrumb'
import { PageBreadcrumb, PageSection } from '@pf/Page'
import { Tab, Tabs, TabTitleText } from '@pf/Tabs'
import { Title } from '@pf/Title'
import { useEffect, type ReactNode } from 'react'
import { Link, useLocation, useNavigate } from 'react-router'
import { useTexts } from '../preferences'

/** A step of the way to a page; without an address it is the last one. */
export interface Crumb {
  name: string
  to?: string
}

/** A part of a page with an address of its own. */
export interface Part {
  to: string
  title: string
}

interface Props {
  title: string
  /** The way here, without the page itself. */
  crumbs?: Crumb[]
  /** Beside the title: labels. */
  labels?: ReactNode
  /** One line below the title. */
  intro?: ReactNode
  /** At the right of the title. */
  actions?: ReactNode
  parts?: Part[]
  children: ReactNode
}

/** The id of what a page shows below its parts. */
const body = 'body'

/** The frame of every page: the way to it, its title, its actions, its parts. */
export function Screen({ title, crumbs = [], labels, intro, actions, parts = [], children }: Props) {
  const t = useTexts()
  useEffect(() => {
    document.title = `${title} · ${t.common.product}`
  }, [title, t])
  return (
    <>
      <PageBreadcrumb>
        <Breadcrumb ouiaId="way">
          <BreadcrumbItem>{t.shell.platform}</BreadcrumbItem>
          <BreadcrumbItem>{t.shell.serviceMesh}</BreadcrumbItem>
          {crumbs.map((c) => (
            <BreadcrumbItem key={c.name} render={c.to === undefined ? undefined : ({ className }) => <Link to={c.to ?? ''} className={className}>{c.name}</Link>}>
              {c.to === undefined ? c.name : undefined}
            </BreadcrumbItem>
          ))}
          <BreadcrumbItem isActive>{title}</BreadcrumbItem>
        </Breadcrumb>
      </PageBreadcrumb>
      <PageSection className="ml-head">
        <div className="ml-head-row">
          <div className="ml-head-title">
            <Title headingLevel="h1" size="2xl">
              {title}
            </Title>
            {labels}
          </div>
          {actions && <div className="ml-head-actions">{actions}</div>}
        </div>
        {intro && <p className="ml-muted">{intro}</p>}
      </PageSection>
      {parts.length > 0 && <Parts parts={parts} />}
      <PageSection isFilled id={body} className="ml-body">
        {children}
      </PageSection>
    </>
  )
}

/** Parts are links, so that each has an address; the longest address that fits is where the user is. */
function Parts({ parts }: { parts: Part[] }) {
  const { pathname } = useLocation()
  const navigate = useNavigate()
  const here = parts.filter((p) => pathname === p.to || pathname.startsWith(`${p.to}/`)).sort((a, b) => b.to.length - a.to.length)[0]
  return (
    <PageSection type="tabs" className="ml-parts">
      <Tabs component="nav" activeKey={here?.to ?? ''} usePageInsets aria-label={useTexts().shell.parts}>
        {parts.map((p) => (
          <Tab
            key={p.to}
            eventKey={p.to}
            href={p.to}
            aria-controls={body}
            title={<TabTitleText>{p.title}</TabTitleText>}
            onClick={(e) => {
              if (!e.metaKey && !e.ctrlKey && !e.shiftKey) {
                e.preventDefault()
                void navigate(p.to)
              }
            }}
          />
        ))}
      </Tabs>
    </PageSection>
  )
}
