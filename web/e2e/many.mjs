// Measures the list of services of a namespace in a browser: how long until rows are there, and until words, filters, order and pages have
// changed them. test/bench/fleet starts it and says where the hub is.
import { open } from './browser.mjs'

const { MANY_URL, MANY_TOKEN, MANY_CLUSTER, MANY_NAMESPACE } = process.env
const rounds = 20
const { page, wrong, close } = await open(MANY_URL, /^$/)

const times = new Map()
/** Times (ms) that the hub took to answer, the longest one each. */
const hub = new Map()
/** Times (ms) what f does, until the rows are as wished: the first one has this text, and as many pages of it follow. */
async function time(what, f, first) {
  const began = performance.now()
  await f()
  await page.waitForFunction((want) => document.querySelector('tbody tr td[data-label="Name"]')?.textContent?.includes(want), first, { polling: 'raf' })
  times.set(what, [...(times.get(what) ?? []), performance.now() - began])
  const asked = await page.evaluate(() => {
    const all = performance.getEntriesByType('resource').filter((r) => r.name.includes('/dataplanes'))
    performance.clearResourceTimings()
    return all.map((r) => r.duration)
  })
  hub.set(what, [...(hub.get(what) ?? []), Math.max(0, ...asked)])
}

try {
  await page.goto('/login')
  await page.getByLabel(/^Token/).fill(MANY_TOKEN)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('link', { name: 'mesh-0' }).waitFor()
  const list = `/clusters/${MANY_CLUSTER}/namespaces/${MANY_NAMESPACE}`
  const words = page.getByRole('textbox', { name: 'Name of a service' })
  for (let n = 0; n < rounds; n++) {
    await time('first rows, from the address', () => page.goto(list), 'service-00000')
    const wanted = `${1000 + 37 * n}`
    await time('words, from the last key', () => words.fill(wanted), `service-0${wanted}`)
    await time('words taken back', () => page.getByRole('button', { name: 'Clear search' }).click(), 'service-00000')
    await time('the next page', () => page.getByRole('button', { name: 'Next page' }).first().click(), 'service-00050')
    await time('the other order', () => page.getByRole('columnheader', { name: 'Name' }).getByRole('button').click(), 'service-09999')
  }
  const quantiles = (all) => {
    all.sort((a, b) => a - b)
    return [['p50', all[all.length >> 1]], ['p95', all[Math.floor(all.length * 0.95)]], ['max', all.at(-1)]].map(([name, ms]) => `${name} ${ms.toFixed(0).padStart(5)} ms`).join('  ')
  }
  for (const [what, all] of times) {
    console.log(`${what.padEnd(32)} ${quantiles(all)}, of which the hub  ${quantiles(hub.get(what))}`)
  }
} finally {
  await close()
}
if (wrong.length > 0) {
  console.error(wrong.join('\n'))
  process.exitCode = 1
}
