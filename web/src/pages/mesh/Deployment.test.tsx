import { screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { Route, Routes } from 'react-router'
import { expect, test } from 'vitest'
import { playHub, refusal, show } from '../../test/render'
import { cluster, meshDetail, no, progress, steps } from '../../test/samples'
import { Deployment } from './Deployment'

const page = (
  <Routes>
    <Route path="/meshes/:mesh" element={<Deployment />} />
  </Routes>
)

const proposal = {
  version: '1.31',
  offered: ['1.31'],
  from: '1.30.0',
  fromRevision: '1-30',
  to: '1.31.0',
  toRevision: '1-31',
  kubernetes: '1.37.2',
  supported: true,
  sidecars: 12,
  gateways: 1,
  envoyFilters: 2,
  steps: steps(),
  untouched: ['Gateways of other meshes'],
  warnings: ['Deployment/edge has one pod'],
}

test('Upgrade tells the path, what happens and what not, and starts it after Confirm', async () => {
  const asked = playHub({ 'GET /meshes/prod': () => meshDetail(), 'GET /clusters/east/proposal': () => proposal, 'POST /clusters/east/upgrade': () => ({}) })
  show(page, '/meshes/prod')
  await userEvent.click(await screen.findByRole('button', { name: 'Upgrade east' }))
  const popup = within(await screen.findByRole('dialog'))
  for (const text of ['Istio 1.30.0 (1-30) → 1.31.0 (1-31)', '1.37.2, supported', 'Gateways of other meshes', 'Deployment/edge has one pod']) {
    expect(await popup.findByText(text)).toBeVisible()
  }
  await userEvent.click(popup.getByRole('button', { name: 'Confirm' }))
  expect(asked.find((a) => a.method === 'POST')?.body).toEqual({ version: '1.31' })
})

test('an upgrade that is refused can only be closed, with the sentence', async () => {
  playHub({ 'GET /meshes/prod': () => meshDetail(), 'GET /clusters/east/proposal': () => ({ ...proposal, refusal: 'Istio 1.31 does not support Kubernetes 1.25' }) })
  show(page, '/meshes/prod')
  await userEvent.click(await screen.findByRole('button', { name: 'Upgrade east' }))
  const popup = within(await screen.findByRole('dialog'))
  expect(await popup.findByText('Istio 1.31 does not support Kubernetes 1.25')).toBeVisible()
  expect(popup.queryByRole('button', { name: 'Confirm' })).toBeNull()
})

const moving = cluster({ upgrade: progress(), actions: { ...cluster().actions, decommission: no('2 data planes remain on 1-30') } })
const upgrade = (blockers: unknown[]) => ({ ...progress(), blockers, blockersOmitted: 0, history: [], paused: false, started: '2026-11-26T10:00:00Z', valuesCarried: 0, valuesChanged: [] })

test('Decommission lists what was not upgraded, with links, and offers nothing to confirm', async () => {
  playHub({
    'GET /meshes/prod': () => meshDetail({ clusterList: [moving] }),
    'GET /clusters/east/upgrade': () =>
      upgrade([
        { category: 'IngressGateway', kind: 'Deployment', namespace: 'edge', name: 'gate', message: 'runs on 1-30', ending: false },
        { category: 'Sidecar', kind: 'Deployment', namespace: 'shop', name: 'cart', message: 'runs on 1-30', ending: false },
      ]),
  })
  show(page, '/meshes/prod')
  await userEvent.click(await screen.findByRole('button', { name: 'Decommission Old Version east' }))
  const popup = within(await screen.findByRole('dialog'))
  expect(await popup.findByRole('link', { name: 'shop/Deployment/cart' })).toHaveAttribute('href', '/clusters/east/namespaces/shop?search=cart')
  expect(popup.getByRole('link', { name: 'edge/Deployment/gate' })).toHaveAttribute('href', '/clusters/east/gateways?search=gate')
  expect(popup.getByText('2 data planes remain on 1-30')).toBeVisible()
  expect(popup.queryByRole('button', { name: 'Confirm' })).toBeNull()
})

test('Decommission tells the consequence, and a refusal keeps the popup open', async () => {
  playHub({
    'GET /meshes/prod': () => meshDetail({ clusterList: [cluster({ upgrade: progress(), actions: { ...cluster().actions, decommission: { allowed: true } } })] }),
    'GET /clusters/east/upgrade': () => upgrade([]),
    'POST /clusters/east/upgrade/decommission': () => refusal('cluster west has not moved'),
  })
  show(page, '/meshes/prod')
  await userEvent.click(await screen.findByRole('button', { name: 'Decommission Old Version east' }))
  const popup = within(await screen.findByRole('dialog'))
  expect(await popup.findByText(/After that there is no way back/)).toBeVisible()
  await userEvent.click(popup.getByRole('button', { name: 'Confirm' }))
  expect(await popup.findByText('cluster west has not moved')).toBeVisible()
})

test('a frozen mesh tells why no cluster can be added', async () => {
  playHub({ 'GET /meshes/prod': () => meshDetail({ actions: { ...meshDetail().actions, addCluster: no('istiod 1.30.0 of east is not decommissioned') } }) })
  show(page, '/meshes/prod')
  await userEvent.hover(await screen.findByRole('button', { name: 'Add cluster' }))
  expect(await screen.findByText('istiod 1.30.0 of east is not decommissioned')).toBeInTheDocument()
})
