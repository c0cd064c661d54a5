import { Button } from '@pf/Button'
import { Pagination } from '@pf/Pagination'
import { SearchInput } from '@pf/SearchInput'
import { Toolbar, ToolbarContent, ToolbarGroup, ToolbarItem } from '@pf/Toolbar'
import SearchIcon from '@icons/search-icon'
import { useEffect, useRef, useState, type ReactNode } from 'react'
import { useTexts } from '../preferences'
import { Empty } from './Empty'
import type { List } from './useList'

/** A page of a list, as the API answers. */
export interface PageOf {
  total: number
  continue?: string
}

interface Props {
  list: List
  /** The page that is shown; undefined while the first one is read. */
  page?: PageOf
  placeholder: string
  /** More filters, beside the words. */
  filters?: ReactNode
  actions?: ReactNode
}

/** Time (ms) after the last key until the list is asked. */
const pause = 60

/** Words, filters, actions and pages of a list that the API cuts. */
export function ListToolbar({ list, page, placeholder, filters, actions }: Props) {
  return (
    <Toolbar inset={{ default: 'insetNone' }}>
      <ToolbarContent>
        <ToolbarItem className="ml-search">
          <Words list={list} placeholder={placeholder} />
        </ToolbarItem>
        {filters && <ToolbarGroup variant="filter-group">{filters}</ToolbarGroup>}
        {actions && <ToolbarGroup variant="action-group">{actions}</ToolbarGroup>}
        <ToolbarItem align={{ default: 'alignEnd' }}>
          <Pages list={list} page={page} />
        </ToolbarItem>
      </ToolbarContent>
    </Toolbar>
  )
}

/** Typing does not wait for the list, and the list does not follow each key. */
function Words({ list, placeholder }: { list: List; placeholder: string }) {
  const t = useTexts()
  const [typed, setTyped] = useState<string>()
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  const ask = (words: string, after: number) => {
    setTyped(words)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => {
      list.setSearch(words)
      setTyped(undefined)
    }, after)
  }
  return (
    <SearchInput
      aria-label={placeholder}
      placeholder={placeholder}
      value={typed ?? list.search}
      onChange={(_, words) => ask(words, pause)}
      onClear={() => ask('', 0)}
      resetButtonLabel={t.common.clearSearch}
    />
  )
}

/** Pages follow each other by what the API says; nothing is shown when one page holds everything. */
export function Pages({ list, page }: { list: List; page?: PageOf }) {
  const t = useTexts()
  if (!page || (page.total <= 20 && list.page === 1)) {
    return null
  }
  return (
    <Pagination
      isCompact
      itemCount={page.total}
      page={list.page}
      perPage={list.limit}
      perPageOptions={[20, 50, 100, 500].map((value) => ({ title: `${value}`, value }))}
      onNextClick={() => page.continue && list.next(page.continue)}
      onPreviousClick={list.previous}
      onPerPageSelect={(_, n) => list.setLimit(n)}
      titles={{
        items: t.paging.items,
        perPageSuffix: t.paging.perPage,
        ofWord: t.paging.of,
        toNextPageAriaLabel: t.paging.next,
        toPreviousPageAriaLabel: t.paging.previous,
        paginationAriaLabel: t.paging.label,
        optionsToggleAriaLabel: t.paging.perPage,
      }}
    />
  )
}

/** In the place of a list when words and filters leave nothing. */
export function NoMatch({ list }: { list: List }) {
  const t = useTexts()
  return (
    <Empty
      title={t.common.noMatch}
      icon={SearchIcon}
      actions={
        <Button variant="link" onClick={list.clear}>
          {t.common.clearFilters}
        </Button>
      }
    >
      {t.common.noMatchBody}
    </Empty>
  )
}
