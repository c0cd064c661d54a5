import { screen, waitFor } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { expect, test } from 'vitest'
import { App } from './App'
import { playHub, refusal, show } from './test/render'
import { mesh, session, whole } from './test/samples'

const options = { oidc: false, version: '0.5.0' }
const loggedIn = { 'GET /login': () => ({ ...options, session }) }

test('who is not logged in logs in with a token, and then sees the page that they came for', async () => {
  let known = false
  const log = playHub({
    'GET /login': () => ({ ...options, session: known ? session : undefined }),
    'POST /session': () => {
      known = true
      return session
    },
    'GET /meshes': () => whole([mesh()]),
  })
  show(<App />, '/meshes')
  await userEvent.type(await screen.findByLabelText(/^Token/), 'secret')
  await userEvent.click(screen.getByRole('button', { name: 'Log in' }))
  expect(await screen.findByRole('link', { name: 'Production' })).toHaveAttribute('href', '/meshes/prod')
  expect(log.find((a) => a.method === 'POST')?.body).toEqual({ token: 'secret' })
  expect(screen.queryByRole('link', { name: /organization/ })).toBeNull()
})

test('a token that is refused is told why', async () => {
  playHub({
    'GET /login': () => ({ ...options, oidc: true }),
    'POST /session': () => refusal('the token has expired', 401),
  })
  show(<App />, '/meshes/prod/waves')
  await userEvent.type(await screen.findByLabelText(/^Token/), 'old')
  await userEvent.click(screen.getByRole('button', { name: 'Log in' }))
  expect(await screen.findByText('the token has expired')).toBeVisible()
  expect(screen.getByRole('link', { name: /organization/ })).toHaveAttribute('href', '/api/v1/oidc/login?page=%2Fmeshes%2Fprod%2Fwaves')
})

test('a session that ends asks to log in', async () => {
  let ended = false
  playHub({
    'GET /login': () => ({ ...options, session: ended ? undefined : session }),
    'GET /meshes': () => (ended ? refusal('log in first', 401) : whole([mesh()])),
  })
  show(<App />, '/meshes')
  await screen.findByRole('link', { name: 'Production' })
  ended = true
  await userEvent.type(screen.getByRole('textbox', { name: 'Name or version' }), 'x')
  expect(await screen.findByRole('heading', { name: 'Meshlift' })).toBeVisible()
})

test('the language changes everything and is kept', async () => {
  playHub({ ...loggedIn, 'GET /meshes': () => whole([mesh()]) })
  show(<App />, '/meshes')
  await userEvent.click(await screen.findByRole('button', { name: 'Language' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: '中文' }))
  expect(await screen.findByRole('heading', { name: '服务网格' })).toBeVisible()
  expect(document.documentElement.lang).toBe('zh-CN')
  expect(localStorage.getItem('meshlift.language')).toBe('zh')
})

test('the dark theme is on the page', async () => {
  playHub({ ...loggedIn, 'GET /meshes': () => whole([]) })
  show(<App />, '/meshes')
  await userEvent.click(await screen.findByRole('button', { name: 'Appearance' }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'Dark' }))
  expect(document.documentElement).toHaveClass('pf-v6-theme-dark')
})

test('logging out ends the session', async () => {
  const log = playHub({ ...loggedIn, 'GET /meshes': () => whole([]), 'DELETE /session': () => undefined })
  show(<App />, '/meshes')
  await userEvent.click(await screen.findByRole('button', { name: /^User/ }))
  await userEvent.click(await screen.findByRole('menuitem', { name: 'Log out' }))
  await waitFor(() => expect(log.some((a) => a.method === 'DELETE')).toBe(true))
  expect(await screen.findByLabelText(/^Token/)).toBeVisible()
})

test('an address that is none says so', async () => {
  playHub(loggedIn)
  show(<App />, '/nowhere')
  expect(await screen.findByText('There is no such page')).toBeVisible()
})
