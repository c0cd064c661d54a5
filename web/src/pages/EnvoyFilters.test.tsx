import { fireEvent, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, test } from 'vitest'
import { playHub, refusal, show, type Asked } from '../test/render'
import { EnvoyFilters } from './EnvoyFilters'
import { cluster } from './planes/fixtures'

const filter = { cluster: 'east', namespace: 'books', name: 'header', hash: 'abc', creator: 'ann', target: '1.31.0', handled: false, verdict: 'changes', why: 'the router filter has moved' }
const handled = { ...filter, name: 'limit', handled: true, by: 'bob', at: '2026-11-26T12:00:00Z', note: 'checked' }

function open(handle: (a: Asked) => unknown = () => ({}), items: unknown[] = [filter, handled]) {
  const mesh = (name: string) => ({ name, displayName: name.toUpperCase() })
  const log = playHub({
    'GET /meshes': () => ({ items: [mesh('shop'), mesh('bank')], total: 2 }),
    'GET /meshes/shop': () => ({ ...mesh('shop'), clusterList: [cluster] }),
    'GET /meshes/bank': () => ({ ...mesh('bank'), clusterList: [] }),
    'GET /meshes/shop/envoyfilters': () => ({ items, total: items.length, unknown: [{ cluster: 'west', message: 'it does not answer' }] }),
    'GET /meshes/bank/envoyfilters': () => ({ items: [], total: 0, unknown: [] }),
    'GET /clusters/east/envoyfilters/books/header': () => ({ ...filter, yaml: 'kind: EnvoyFilter', managers: [] }),
    'POST /clusters/east/envoyfilters/books/header/handled': handle,
  })
  show(<EnvoyFilters />, '/envoyfilters')
  return log
}

test('each EnvoyFilter shows its creator, what it is worth, and who handled it', async () => {
  open()
  expect(await screen.findAllByText('1.31.0: has to be adapted')).toHaveLength(2)
  expect(screen.getAllByText('the router filter has moved')).not.toHaveLength(0)
  expect(screen.getByText(/bob/)).toBeInTheDocument()
  expect(screen.getByText('The EnvoyFilters of cluster west are not known: it does not answer')).toBeInTheDocument()
})

test('another mesh is chosen on top; one without EnvoyFilters is complete', async () => {
  open()
  await userEvent.selectOptions(await screen.findByRole('combobox', { name: 'Mesh' }), 'bank')
  expect(await screen.findByText('No EnvoyFilter')).toBeInTheDocument()
})

test('the content is shown beside the list, and is marked as handled with its hash', async () => {
  const log = open()
  await userEvent.click(await screen.findByRole('button', { name: 'header' }))
  expect(await screen.findByText('kind: EnvoyFilter')).toBeInTheDocument()
  await userEvent.click(await screen.findByRole('button', { name: 'Mark handled: header' }))
  const popup = within(await screen.findByRole('dialog'))
  fireEvent.change(popup.getByRole('textbox'), { target: { value: 'fine with ann' } })
  await userEvent.click(popup.getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(screen.queryByRole('dialog')).not.toBeInTheDocument())
  expect(log.find((a) => a.method === 'POST')?.body).toEqual({ hash: 'abc', note: 'fine with ann' })
})

test('one that changed meanwhile is not handled', async () => {
  open(() => refusal('EnvoyFilter books/header has changed since you looked at it: check it again'))
  await userEvent.click(await screen.findByRole('button', { name: 'Mark handled: header' }))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  expect(await screen.findByText(/has changed since you looked at it/)).toBeInTheDocument()
})
