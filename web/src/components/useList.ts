import { useState } from 'react'
import { useSearchParams } from 'react-router'

export type Order = 'ascending' | 'descending'

/** What is asked of a list of the API; words, order and filters are in the address, so that it can be shared. */
export interface List {
  search: string
  setSearch: (words: string) => void
  sort: string
  order: Order
  setSort: (column: string, order: Order) => void
  filter: (name: string) => string | undefined
  setFilter: (name: string, value: string | undefined) => void
  clear: () => void
  /** Whether words or filters leave something out. */
  filtered: boolean
  limit: number
  setLimit: (n: number) => void
  /** Where the page begins, as the API said; undefined on the first one. */
  token: string | undefined
  /** Number of the page, from 1. */
  page: number
  next: (token: string) => void
  previous: () => void
  /** For the head of a column of a table: its sort property. */
  head: (column: string, index: number, columns: string[]) => {
    sortBy: { index?: number; direction?: 'asc' | 'desc' }
    onSort: (_: unknown, index: number, direction: 'asc' | 'desc') => void
    columnIndex: number
  }
}

const own = ['search', 'sort', 'order']

/** The state of a list. Filters are other parameters of the address; names of them that are not filters are in ignored. */
export function useList(sortedBy = 'name', ignored: string[] = [], pageSize = 50): List {
  const [params, setParams] = useSearchParams()
  const [limit, setLimit] = useState(pageSize)
  const [tokens, setTokens] = useState<string[]>([])
  const set = (changes: Record<string, string | undefined>) => {
    setTokens([])
    setParams(
      (before) => {
        const after = new URLSearchParams(before)
        for (const [name, value] of Object.entries(changes)) {
          if (value === undefined || value === '') {
            after.delete(name)
          } else {
            after.set(name, value)
          }
        }
        return after
      },
      { replace: true },
    )
  }
  const sort = params.get('sort') ?? sortedBy
  const order: Order = params.get('order') === 'descending' ? 'descending' : 'ascending'
  const filters = [...params.keys()].filter((k) => !own.includes(k) && !ignored.includes(k))
  const setSort = (column: string, to: Order) => set({ sort: column === sortedBy ? undefined : column, order: to === 'ascending' ? undefined : to })
  return {
    search: params.get('search') ?? '',
    setSearch: (words) => set({ search: words }),
    sort,
    order,
    setSort,
    filter: (name) => params.get(name) ?? undefined,
    setFilter: (name, value) => set({ [name]: value }),
    clear: () => set(Object.fromEntries([...filters, 'search'].map((f) => [f, undefined]))),
    filtered: filters.length > 0 || params.has('search'),
    limit,
    setLimit: (n) => {
      setTokens([])
      setLimit(n)
    },
    token: tokens.at(-1),
    page: tokens.length + 1,
    next: (token) => setTokens((before) => [...before, token]),
    previous: () => setTokens((before) => before.slice(0, -1)),
    head: (column, index, columns) => ({
      sortBy: { index: columns.indexOf(sort), direction: order === 'ascending' ? 'asc' : 'desc' },
      onSort: (_, at, direction) => setSort(columns[at] ?? column, direction === 'asc' ? 'ascending' : 'descending'),
      columnIndex: index,
    }),
  }
}
