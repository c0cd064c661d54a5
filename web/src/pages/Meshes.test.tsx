import { screen, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, test } from 'vitest'
import { playHub, refusal, show } from '../test/render'
import { mesh, whole } from '../test/samples'
import { Meshes } from './Meshes'

const running = { name: 'prod-1-31', version: '1.31', moved: 1, total: 2, paused: false, done: false }

test('each mesh says its versions, how far its upgrade is and what needs attention', async () => {
  playHub({
    'GET /meshes': () =>
      whole([
        mesh({ connected: 1, upgrade: running, message: 'cluster west does not answer', frozen: true, frozenMessage: 'istiod 1.30.0 of east is not decommissioned' }),
        mesh({ name: 'test', displayName: 'test' }),
      ]),
  })
  show(<Meshes />)
  const row = (await screen.findByRole('link', { name: 'Production' })).closest('tr')
  if (!row) throw new Error('no row')
  for (const text of ['1 of 2 connected', '1.30.0', '1 of 2 clusters moved', 'cluster west does not answer', 'Frozen']) {
    expect(within(row).getByText(text)).toBeVisible()
  }
  expect(screen.getByText('1.31 available')).toBeVisible()
})

test('a mesh that may not be created keeps the popup open with the sentence', async () => {
  playHub({ 'GET /meshes': () => whole([]), 'POST /meshes': () => refusal('ann may not create meshes', 403) })
  show(<Meshes />)
  await userEvent.click((await screen.findAllByRole('button', { name: 'Create mesh' }))[0] as HTMLElement)
  const popup = within(await screen.findByRole('dialog'))
  await userEvent.type(popup.getByLabelText(/^Name/), 'prod')
  await userEvent.click(popup.getByRole('button', { name: 'Create mesh' }))
  expect(await popup.findByText('ann may not create meshes')).toBeVisible()
})

test('a list that cannot be read says why and offers another try', async () => {
  let broken = true
  playHub({ 'GET /meshes': () => (broken ? refusal('the API server is away', 502) : whole([mesh()])) })
  show(<Meshes />)
  expect(await screen.findByText('the API server is away')).toBeVisible()
  broken = false
  await userEvent.click(screen.getByRole('button', { name: 'Try again' }))
  expect(await screen.findByRole('link', { name: 'Production' })).toBeVisible()
})
