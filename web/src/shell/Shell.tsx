import { Alert, AlertActionLink } from '@pf/Alert'
import { Masthead, MastheadBrand, MastheadContent, MastheadLogo, MastheadMain } from '@pf/Masthead'
import { Nav, NavItem, NavList } from '@pf/Nav'
import { Page } from '@pf/Page'
import { SkipToContent } from '@pf/SkipToContent'
import { Toolbar, ToolbarContent, ToolbarGroup, ToolbarItem } from '@pf/Toolbar'
import { Link, Outlet, useLocation } from 'react-router'
import { Breakage } from '../components/Breakage'
import { useLocale, useTexts } from '../preferences'
import { GoTo } from './GoTo'
import { Logo } from './Logo'
import { LanguageSwitch, ThemeSwitch } from './Switches'
import { useLive } from './useLive'
import { UserMenu } from './UserMenu'

const main = 'main'

/** What is around every page. */
export function Shell() {
  const t = useTexts()
  const { pathname } = useLocation()
  return (
    <Page masthead={<Head />} mainContainerId={main} isContentFilled skipToContent={<SkipToContent href={`#${main}`}>{t.shell.skip}</SkipToContent>}>
      <Lost />
      <Breakage at={pathname}>
        <Outlet />
      </Breakage>
    </Page>
  )
}

function Head() {
  const t = useTexts()
  const { pathname } = useLocation()
  const places = [
    { to: '/meshes', name: t.shell.meshes, here: pathname.startsWith('/meshes') || pathname.startsWith('/clusters') },
    { to: '/envoyfilters', name: t.shell.envoyFilters, here: pathname.startsWith('/envoyfilters') },
  ]
  return (
    <Masthead display={{ default: 'inline' }}>
      <MastheadMain>
        <MastheadBrand>
          <MastheadLogo component={(props) => <Link {...props} to="/meshes" aria-label={t.common.product} />}>
            <span className="ml-brand">
              <Logo />
              <span className="ml-wide">{t.common.product}</span>
            </span>
          </MastheadLogo>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <Toolbar isFullHeight isStatic>
          <ToolbarContent>
            <ToolbarItem className="ml-nav">
              <Nav variant="horizontal" aria-label={t.shell.navigation}>
                <NavList>
                  {places.map((p) => (
                    <NavItem key={p.to} isActive={p.here}>
                      <Link to={p.to}>{p.name}</Link>
                    </NavItem>
                  ))}
                </NavList>
              </Nav>
            </ToolbarItem>
            <ToolbarGroup align={{ default: 'alignEnd' }} gap={{ default: 'gapNone', md: 'gapSm' }}>
              <ToolbarItem>
                <GoTo />
              </ToolbarItem>
              <ToolbarItem>
                <ThemeSwitch />
              </ToolbarItem>
              <ToolbarItem>
                <LanguageSwitch />
              </ToolbarItem>
              <ToolbarItem>
                <UserMenu />
              </ToolbarItem>
            </ToolbarGroup>
          </ToolbarContent>
        </Toolbar>
      </MastheadContent>
    </Masthead>
  )
}

/** Says that what is seen may be old. */
function Lost() {
  const t = useTexts()
  const locale = useLocale()
  const { lostAt, tryNow } = useLive()
  if (!lostAt) {
    return null
  }
  return (
    <Alert
      variant="warning"
      isInline
      title={t.shell.lost}
      component="p"
      role="status"
      className="ml-lost"
      actionLinks={<AlertActionLink onClick={tryNow}>{t.shell.lostNow}</AlertActionLink>}
    >
      {t.shell.lostBody(lostAt.toLocaleTimeString(locale))}
    </Alert>
  )
}
