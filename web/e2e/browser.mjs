// The browser of the walk: Debian's Chromium, with an eye on its console, on what the hub refuses, and on accessibility.
import axe from 'axe-core'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const pictures = process.env.WALK_PICTURES

/** Opens the hub at 1280 px. What the console or the hub complains of is in the list that it returns, unless it is expected. */
export async function open(url, expected) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
  // The hub made its certificate itself.
  const context = await browser.newContext({ baseURL: url, ignoreHTTPSErrors: true, viewport: { width: 1280, height: 900 }, locale: 'en-GB' })
  context.setDefaultTimeout(120_000)
  const page = await context.newPage()
  const wrong = []
  const note = (text) => expected.test(text) || wrong.push(text)
  page.on('console', (m) => ['error', 'warning'].includes(m.type()) && note(`console: ${m.text()} (${m.location().url})`))
  page.on('pageerror', (e) => note(`page: ${e.stack ?? e}`))
  page.on('response', (r) => r.status() >= 400 && note(`hub: ${r.status()} ${r.request().method()} ${r.url()}`))
  return { page, wrong, close: () => browser.close() }
}

/** Takes a picture, and fails when axe finds something to mend (https://dequeuniversity.com/rules/axe/). */
export async function look(page, name) {
  await page.locator('[aria-busy="true"]').first().waitFor({ state: 'detached' })
  // What fades in has no contrast yet.
  await page.evaluate(() => Promise.all(document.getAnimations().filter((a) => a.effect?.getTiming().iterations !== Infinity).map((a) => a.finished.catch(() => undefined))))
  await picture(page, name)
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }))
  if (violations.length > 0) {
    throw new Error(`axe on ${name}:\n${violations.map((v) => `${v.id}: ${v.help}\n${v.nodes.map((n) => `  ${n.html}\n  ${n.failureSummary}`).join('\n')}`).join('\n')}`)
  }
}

/** Takes a picture, when somebody wants them. */
export async function picture(page, name) {
  if (pictures) {
    mkdirSync(pictures, { recursive: true })
    await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true })
  }
}
