import { Dropdown, DropdownItem, DropdownList } from '@pf/Dropdown'
import { MenuToggle } from '@pf/MenuToggle'
import UserIcon from '@icons/user-icon'
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { api, call } from '../api/client'
import { keys } from '../api/keys'
import { useSession } from '../session'
import { useTexts } from '../preferences'

/** A ServiceAccount by its namespace and name; everybody else as the hub calls them. */
export const shortName = (user: string) => user.replace(/^system:serviceaccount:([^:]+):(.+)$/, '$1/$2')

/** Who is logged in, and the way out. */
export function UserMenu() {
  const t = useTexts()
  const [open, setOpen] = useState(false)
  const session = useSession()
  const queries = useQueryClient()
  const user = session.data?.user ?? ''
  const logout = async () => {
    await call(api.DELETE('/api/v1/session'))
    queries.setQueryData(keys.session, null)
    queries.removeQueries({ predicate: (q) => q.queryKey[0] !== keys.session[0] }) // the next user may see less
  }
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={() => setOpen(false)}
      popperProps={{ position: 'right' }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant="plainText" aria-label={`${t.shell.user}: ${user}`} isExpanded={open} onClick={() => setOpen(!open)} icon={<UserIcon />}>
          <span className="ml-wide ml-user">{shortName(user)}</span>
        </MenuToggle>
      )}
    >
      <DropdownList>
        <DropdownItem key="who" isDisabled description={(session.data?.groups ?? []).join(', ')}>
          {user}
        </DropdownItem>
        <DropdownItem key="logout" onClick={() => void logout()}>
          {t.shell.logout}
        </DropdownItem>
      </DropdownList>
    </Dropdown>
  )
}
