import { screen } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, test, vi } from 'vitest'
import { Problem } from '../api/problem'
import { show } from '../test/render'
import { no, steps } from '../test/samples'
import { ConfirmModal } from './ConfirmModal'
import { GateButton } from './GateButton'
import { ListToolbar } from './ListToolbar'
import { StepIndicator } from './StepIndicator'
import { useList } from './useList'

test('a button that cannot be used tells why, also to the keyboard, and does nothing', async () => {
  const act = vi.fn()
  show(
    <GateButton may={no('upgrade 1-30-to-1-31 runs')} onClick={act}>
      Upgrade
    </GateButton>,
  )
  await userEvent.tab()
  expect(screen.getByRole('button')).toHaveFocus()
  expect(await screen.findByText('upgrade 1-30-to-1-31 runs')).toBeInTheDocument()
  await userEvent.keyboard('{Enter}')
  expect(act).not.toHaveBeenCalled()
})

test('a popup stays with the sentence of a refusal, and closes when the hub said yes', async () => {
  const confirm = vi.fn().mockRejectedValueOnce(new Problem(409, 'the cluster is frozen')).mockResolvedValueOnce(undefined)
  const close = vi.fn()
  show(
    <ConfirmModal title="Decommission" onConfirm={confirm} onClose={close}>
      The old istiod is removed.
    </ConfirmModal>,
  )
  await userEvent.click(screen.getByRole('button', { name: 'Confirm' }))
  expect(await screen.findByText('the cluster is frozen')).toBeVisible()
  expect(close).not.toHaveBeenCalled()
  await userEvent.click(screen.getByRole('button', { name: 'Confirm' }))
  expect(close).toHaveBeenCalledOnce()
})

test('each step is spoken with its state', () => {
  show(<StepIndicator steps={steps('Done', 'Done', 'Attention')} />)
  expect(screen.getByText('Step 3, EnvoyFilters: Needs you')).toBeInTheDocument()
  expect(screen.getAllByRole('listitem')).toHaveLength(5)
})

function Toolbar() {
  const list = useList()
  return (
    <>
      <ListToolbar list={list} page={{ total: 120, continue: 'NTA' }} placeholder="Name" />
      <output>{JSON.stringify({ search: list.search, token: list.token, page: list.page })}</output>
    </>
  )
}

const asked = () => JSON.parse(screen.getByRole('status').textContent ?? '') as unknown

test('pages follow what the API said, and other words begin anew', async () => {
  show(<Toolbar />)
  await userEvent.click(screen.getByRole('button', { name: 'Next page' }))
  expect(asked()).toEqual({ search: '', token: 'NTA', page: 2 })
  await userEvent.type(screen.getByRole('textbox', { name: 'Name' }), 'shop')
  await vi.waitFor(() => expect(asked()).toEqual({ search: 'shop', page: 1 }))
})
