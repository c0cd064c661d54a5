import { expect, test, vi } from 'vitest'
import { playHub, refusal, Answer } from '../test/render'
import { api, call } from './client'
import { asProblem } from './problem'

const ask = () => call(api.GET('/api/v1/meshes/{mesh}', { params: { path: { mesh: 'prod' } } }))
const problem = async () => asProblem(await ask().catch((e: unknown) => e))

test('a refusal is the sentence of the hub', async () => {
  playHub({ 'GET /meshes/prod': () => refusal('the mesh is frozen: decommission first') })
  expect(await problem()).toMatchObject({ status: 409, message: 'the mesh is frozen: decommission first' })
})

test('a refusal by a gate keeps its verdict', async () => {
  playHub({ 'GET /meshes/prod': () => new Answer(409, { detail: 'wait', verdict: { outcome: 'Wait', reason: 'X', message: 'wait' } }) })
  expect((await problem()).verdict?.outcome).toBe('Wait')
})

test('what is wrong with the input is told with its place', async () => {
  playHub({ 'GET /meshes/prod': () => new Answer(422, { detail: 'validation failed', errors: [{ location: 'body.name', message: 'too long' }] }) })
  expect((await problem()).message).toBe('validation failed; body.name: too long')
})

test('a hub that does not answer is unreachable', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')))
  expect((await problem()).unreachable).toBe(true)
})

test('an answer of a proxy is its status', async () => {
  vi.stubGlobal('fetch', () => Promise.resolve(new Response('<html>', { status: 502, statusText: 'Bad Gateway' })))
  expect(await problem()).toMatchObject({ status: 502, unreachable: false })
})
