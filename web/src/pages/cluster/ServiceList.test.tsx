import { fireEvent, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { Route, Routes } from 'react-router'
import { expect, test } from 'vitest'
import { playHub, refusal, show, type Asked } from '../../test/render'
import { cluster, plane, rollout } from '../planes/fixtures'
import type { Cluster, DataPlane, Rollout } from '../planes/reads'
import { Gateways } from './Gateways'
import { Namespaces } from './Namespaces'
import { ServiceList } from './ServiceList'

interface World {
  cluster?: Cluster
  planes: DataPlane[]
  rollouts?: Rollout[]
  gateways?: number
  page?: (asked: Asked) => unknown
  start?: (asked: Asked) => unknown
}

function open(w: World, at = '/clusters/east/namespaces/books') {
  const log = playHub({
    'GET /clusters/east': () => w.cluster ?? cluster,
    'GET /clusters/east/dataplanes': w.page ?? (() => ({ items: w.planes, total: w.planes.length })),
    'GET /clusters/east/rollouts': () => ({ items: w.rollouts ?? [], total: 0 }),
    'GET /clusters/east/namespaces': () => ({
      items: [{ name: 'books', sidecars: w.planes.length, gateways: w.gateways ?? 0, moved: 0, moving: 0, failed: 0, open: w.planes.filter((p) => p.upgradeable).length }],
      total: 1,
    }),
    'POST /clusters/east/rollouts': w.start ?? (() => rollout()),
    'POST /clusters/east/rollouts/up-r1/decide': () => rollout(),
  })
  show(
    <Routes>
      <Route path="clusters/:cluster/gateways" element={<Gateways />} />
      <Route path="clusters/:cluster/namespaces" element={<Namespaces />} />
      <Route path="clusters/:cluster/namespaces/:namespace" element={<ServiceList />} />
    </Routes>,
    at,
  )
  return log
}

const asked = (log: Asked[], method: string) => log.filter((a) => a.method === method)

test('one service is upgraded after the consequence was told and confirmed', async () => {
  const log = open({ planes: [plane('reviews'), plane('ratings', { state: 'Moved', version: '1.31.0', upgradeable: false, moveBack: true })] })
  expect(await screen.findAllByLabelText('Can be upgraded to Istio 1.31.0')).toHaveLength(1)
  await userEvent.click(screen.getByRole('button', { name: 'Upgrade: reviews' }))
  const popup = within(await screen.findByRole('dialog'))
  expect(popup.getByText(/long connections are cut once/)).toBeInTheDocument()
  expect(asked(log, 'POST')).toHaveLength(0)
  await userEvent.click(popup.getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(screen.queryByRole('dialog')).not.toBeInTheDocument())
  expect(asked(log, 'POST').map((a) => a.body)).toEqual([{ direction: 'Forward', targets: [{ namespace: 'books', kind: 'Deployment', name: 'reviews' }] }])
  // Nothing is shown as done before the hub says so.
  expect(screen.getByRole('button', { name: 'Upgrade: reviews' })).toBeInTheDocument()
})

test('a refusal stays in the popup as the hub said it', async () => {
  open({ planes: [plane('reviews')], start: () => refusal('EnvoyFilter books/x is not handled: check it first') })
  await userEvent.click(await screen.findByRole('button', { name: 'Upgrade: reviews' }))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  expect(await screen.findByText('EnvoyFilter books/x is not handled: check it first')).toBeInTheDocument()
  expect(screen.getByRole('dialog')).toBeInTheDocument()
})

test('a batch is what was chosen, or the whole namespace', async () => {
  const log = open({ planes: [plane('details'), plane('reviews'), plane('old', { state: 'Excluded', upgradeable: false })] })
  await userEvent.click(await screen.findByRole('checkbox', { name: 'Choose details' }))
  expect(screen.getByRole('checkbox', { name: 'Choose old' })).toBeDisabled()
  await userEvent.click(screen.getByRole('button', { name: 'Batch Upgrade Sidecars' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'The 1 that are chosen' }))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(screen.queryByRole('dialog')).not.toBeInTheDocument())
  await userEvent.click(screen.getByRole('button', { name: 'Batch Upgrade Sidecars' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'All that can be upgraded (2)' }))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(asked(log, 'POST')).toHaveLength(2))
  expect(asked(log, 'POST').map((a) => (a.body as { targets: unknown }).targets)).toEqual([[{ namespace: 'books', kind: 'Deployment', name: 'details' }], [{ namespace: 'books' }]])
})

test('the sidecars of a namespace with gateways are named one by one', async () => {
  const log = open({ planes: [plane('details'), plane('reviews')], gateways: 1 })
  await userEvent.click(await screen.findByRole('button', { name: 'Batch Upgrade Sidecars' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'All that can be upgraded (2)' }))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(asked(log, 'POST')).toHaveLength(1))
  expect(asked(log, 'POST')[0]?.body).toMatchObject({ parallelism: 5, targets: [{ name: 'details' }, { name: 'reviews' }] })
})

test('a failed service shows the events of its pods in place, and Re-upgrade', async () => {
  const failure = {
    rollout: 'up-r1', attempt: 2, reason: 'Timeout', message: 'no pod became ready', waiting: true,
    events: [{ pod: 'reviews-7d', type: 'Warning', reason: 'BackOff', message: 'Back-off pulling image', count: 3, lastSeen: '2026-11-26T12:00:00Z' }],
  }
  const log = open({ planes: [plane('reviews', { state: 'Failed', upgradeable: false, failure })] })
  expect(await screen.findByText('Back-off pulling image')).toBeInTheDocument()
  expect(screen.getByText('The upgrade failed (attempt 2)')).toBeInTheDocument()
  await userEvent.click(screen.getByRole('button', { name: 'Re-upgrade: reviews' }))
  await waitFor(() => expect(asked(log, 'POST')).toHaveLength(1))
  expect(asked(log, 'POST')[0]).toMatchObject({ path: '/clusters/east/rollouts/up-r1/decide', body: { action: 'Retry', targets: [{ name: 'reviews' }] } })
})

test('without permission every button says why', async () => {
  const reason = 'you may not create meshes/rollouts in mesh shop'
  open({ planes: [plane('reviews')], cluster: { ...cluster, actions: { ...cluster.actions, moveWorkloads: { allowed: false, reason } } } })
  const button = await screen.findByRole('button', { name: 'Upgrade: reviews' })
  expect(button).toHaveAttribute('aria-disabled', 'true')
  await userEvent.hover(button)
  expect(await screen.findByText(reason)).toBeInTheDocument()
  await userEvent.click(button)
  expect(screen.queryByRole('dialog')).not.toBeInTheDocument()
})

test('words, filter, order and pages are asked of the hub', async () => {
  const log = open({
    planes: [plane('a')],
    page: (a) => ({ items: [plane(a.query.get('continue') ? 'second' : 'first')], total: 120, continue: a.query.get('continue') ? undefined : 'next' }),
  })
  await screen.findByText('first')
  await userEvent.click(screen.getAllByRole('button', { name: 'Next page' })[0] ?? document.body)
  await screen.findByText('second')
  fireEvent.change(screen.getByLabelText('Name of a service'), { target: { value: 'rev' } })
  await waitFor(() => expect(log.at(-1)?.query.get('search')).toBe('rev'))
  fireEvent.change(screen.getByLabelText('State'), { target: { value: 'Pending' } })
  await waitFor(() => expect(log.at(-1)?.query.get('state')).toBe('Pending'))
  await userEvent.click(screen.getByRole('button', { name: 'Pods' }))
  await waitFor(() => expect(Object.fromEntries(asked(log, 'GET').filter((a) => a.path.endsWith('dataplanes')).at(-1)?.query ?? [])).toMatchObject({
    namespace: 'books', role: 'Sidecar', search: 'rev', state: 'Pending', sort: 'pods', order: 'ascending', limit: '50',
  }))
  expect(asked(log, 'GET').filter((a) => a.path.endsWith('dataplanes')).at(-1)?.query.get('continue')).toBeNull()
})

test('a rollout shows how far it is', async () => {
  open({ planes: [plane('reviews')], rollouts: [rollout({ failed: 1, waits: true, message: '1 data plane failed' }), rollout({ name: 'done', complete: true })] })
  expect(await screen.findByText('1 of 4 done, 1 moving, 1 failed')).toBeInTheDocument()
  expect(screen.getByText('1 data plane failed')).toBeInTheDocument()
  expect(screen.getAllByRole('progressbar')).toHaveLength(1)
})

test('a gateway that will be unreachable says so before it is upgraded', async () => {
  const warning = 'istio-ingress/ingress has one pod and cannot surge: it will be unreachable for a moment'
  const log = open({ planes: [plane('ingress', { role: 'IngressGateway', namespace: 'istio-ingress', warnings: [warning] })] }, '/clusters/east/gateways')
  await userEvent.click(await screen.findByRole('button', { name: 'Upgrade: ingress' }))
  const popup = within(await screen.findByRole('dialog'))
  expect(popup.getByText(warning)).toBeInTheDocument()
  expect(popup.getByText('Istio 1.30.0 → 1.31.0')).toBeInTheDocument()
  expect(asked(log, 'GET').some((a) => a.query.get('role') === 'Gateway')).toBe(true)
})

test('a namespace leads to its services', async () => {
  open({ planes: [plane('a'), plane('b')] }, '/clusters/east/namespaces')
  expect(await screen.findByText('2 can be upgraded')).toBeInTheDocument()
  await userEvent.click(screen.getByRole('link', { name: 'books' }))
  expect(await screen.findByRole('button', { name: 'Upgrade: a' })).toBeInTheDocument()
})
