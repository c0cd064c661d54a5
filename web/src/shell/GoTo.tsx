import { Dropdown, DropdownGroup, DropdownItem, DropdownList } from '@pf/Dropdown'
import { MenuSearch, MenuSearchInput } from '@pf/Menu'
import { MenuToggle } from '@pf/MenuToggle'
import { SearchInput } from '@pf/SearchInput'
import SearchIcon from '@icons/search-icon'
import { useState } from 'react'
import { useNavigate } from 'react-router'
import { useClusters, useMeshes } from '../api/reads'
import { useTexts } from '../preferences'

/** How many meshes and clusters are offered at once; words find the others. */
const most = 30

/** One step from anywhere to any mesh or cluster. */
export function GoTo() {
  const t = useTexts()
  const [open, setOpen] = useState(false)
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={() => setOpen(false)}
      onOpenChangeKeys={['Escape']}
      toggle={(ref) => (
        <MenuToggle ref={ref} aria-label={t.shell.goToLabel} isExpanded={open} onClick={() => setOpen(!open)} icon={<SearchIcon />}>
          <span className="ml-wide">{t.shell.goTo}</span>
        </MenuToggle>
      )}
      isScrollable
      maxMenuHeight="26rem"
    >
      {open && <Places />}
    </Dropdown>
  )
}

function Places() {
  const t = useTexts()
  const navigate = useNavigate()
  const [search, setSearch] = useState('')
  const meshes = useMeshes({ search, limit: most }).data?.items ?? []
  const clusters = useClusters({ search, limit: most }).data?.items ?? []
  return (
    <>
      <MenuSearch>
        <MenuSearchInput>
          <SearchInput autoFocus aria-label={t.shell.goToSearch} placeholder={t.shell.goToSearch} value={search} onChange={(_, v) => setSearch(v)} onClear={() => setSearch('')} />
        </MenuSearchInput>
      </MenuSearch>
      {meshes.length > 0 && (
        <DropdownGroup label={t.shell.meshes} labelHeadingLevel="h2">
          <DropdownList>
            {meshes.map((m) => (
              <DropdownItem key={m.name} onClick={() => void navigate(`/meshes/${m.name}`)} description={m.displayName === m.name ? undefined : m.name}>
                {m.displayName}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
      )}
      {clusters.length > 0 && (
        <DropdownGroup label={t.shell.clusters} labelHeadingLevel="h2">
          <DropdownList>
            {clusters.map((c) => (
              <DropdownItem key={c.name} onClick={() => void navigate(`/clusters/${c.name}`)} description={c.mesh}>
                {c.name}
              </DropdownItem>
            ))}
          </DropdownList>
        </DropdownGroup>
      )}
      {meshes.length + clusters.length === 0 && (
        <DropdownList>
          <DropdownItem isDisabled>{t.shell.goToNothing}</DropdownItem>
        </DropdownList>
      )}
    </>
  )
}
