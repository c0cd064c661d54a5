import { fireEvent, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { Route, Routes } from 'react-router'
import { expect, test } from 'vitest'
import { playHub, show } from '../../test/render'
import { fieldsOf, settingsOf, wrong } from '../sidecars/settings'
import { Sidecars } from './Sidecars'

const configuration = { logLevel: 'info', resources: { requests: { cpu: '100m', 'example.com/gpu': '1' } }, namespaces: [{ namespace: 'books', concurrency: 2 }] }

function open(change: { allowed: boolean; reason?: string } = { allowed: true }) {
  const log = playHub({
    'GET /meshes/shop/sidecars': () => ({ configuration, configured: true, change }),
    'PUT /meshes/shop/sidecars': (a) => ({ configuration: a.body, configured: false, change }),
  })
  show(
    <Routes>
      <Route path="meshes/:mesh/sidecars" element={<Sidecars />} />
    </Routes>,
    '/meshes/shop/sidecars',
  )
  return log
}

test('settings of all namespaces and of one are saved together, and what the form does not show stays', async () => {
  const log = open()
  await screen.findByText('All namespaces')
  fireEvent.change(document.getElementById('all-logLevel') ?? document.body, { target: { value: 'debug' } })
  fireEvent.change(screen.getByLabelText('Namespace'), { target: { value: 'shop' } })
  fireEvent.keyDown(screen.getByLabelText('Namespace'), { key: 'Enter' })
  fireEvent.change(document.getElementById('shop-excludeOutboundPorts') ?? document.body, { target: { value: '3306, 5432' } })
  await userEvent.click(screen.getByText('Save'))
  await userEvent.click(within(await screen.findByRole('dialog')).getByRole('button', { name: 'Confirm' }))
  await waitFor(() => expect(log.some((a) => a.method === 'PUT')).toBe(true))
  expect(log.find((a) => a.method === 'PUT')?.body).toEqual({
    ...configuration,
    logLevel: 'debug',
    namespaces: [...configuration.namespaces, { namespace: 'shop', traffic: { excludeOutboundPorts: [3306, 5432] } }],
  })
})

test('while an old istiod exists it is frozen, and says which cluster is in the way', async () => {
  open({ allowed: false, reason: 'istiod 1.30.0 of cluster east is not decommissioned' })
  expect(await screen.findByText('istiod 1.30.0 of cluster east is not decommissioned')).toBeInTheDocument()
  expect(screen.getByRole('button', { name: 'Save' })).toHaveAttribute('aria-disabled', 'true')
  expect(document.getElementById('all-logLevel')).toBeDisabled()
})

test('fields are read and written without loss, and what cannot be meant is marked', () => {
  const all = { ...configuration, terminationDrainDuration: '30s', holdApplicationUntilProxyStarts: false, traffic: { includeOutboundIPRanges: ['*'], excludeInboundPorts: [1, 2] } }
  expect(JSON.parse(JSON.stringify(settingsOf(fieldsOf(all), all)))).toEqual(all)
  expect(wrong({ ...fieldsOf({}), concurrency: '300', drain: 'soon', requestsMemory: '1 GB', limitsCpu: '2' })).toEqual(['requestsMemory', 'concurrency', 'drain'])
})
