// Walks the guide in the pages of a real hub, from step 1 to 5 in the clusters east and west, as a person would: by what is written on
// buttons. test/lab/walk_test.go prepares hub and clusters, and says by the environment where they are.
//
//   WALK_URL, WALK_TOKEN    the hub, and a token to log in with
//   WALK_KUBECTL, WALK_EAST the command kubectl, and the kubeconfig of east: for what happens outside the pages
//   WALK_PICTURES           a folder for pictures; none when it is not set
import { execFileSync } from 'node:child_process'
import { look, open, picture } from './browser.mjs'

const { WALK_URL, WALK_TOKEN, WALK_KUBECTL, WALK_EAST } = process.env
// The token that is refused.
const { page, wrong, close } = await open(WALK_URL, /401.*\/api\/v1\/session\b/)

const began = Date.now()
let at = ''
const step = async (title, f) => {
  at = title
  console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(4)} s  ${title}`)
  await f()
}

const kubectl = (...args) => execFileSync(WALK_KUBECTL, ['kubectl', '--kubeconfig', WALK_EAST, ...args], { encoding: 'utf8' })
const go = (path) => page.goto(path)
const button = (name) => page.getByRole('button', { name, exact: true })
const dialog = () => page.getByRole('dialog')
const text = (t) => page.getByText(t).first()
const row = (name) => page.getByRole('row').filter({ hasText: name })
const closed = () => dialog().waitFor({ state: 'detached' })

/** What the popup must say before it is confirmed. */
async function confirm(...says) {
  for (const s of says) {
    await dialog().getByText(s).first().waitFor()
  }
  await dialog().getByRole('button', { name: 'Confirm' }).click()
  await closed()
}

/** The reason that a button gives for being disabled, when it is pointed at. */
async function reasonOf(b) {
  await b.waitFor()
  if ((await b.getAttribute('aria-disabled')) !== 'true') {
    throw new Error(`${await b.textContent()} is not disabled`)
  }
  await b.hover()
  const reason = await page.getByRole('tooltip').textContent()
  await page.mouse.move(0, 0)
  await page.getByRole('tooltip').waitFor({ state: 'detached' })
  return reason
}

async function refuses(b, reason) {
  const said = await reasonOf(b)
  if (!reason.test(said)) {
    throw new Error(`the button is disabled because "${said}", want ${reason}`)
  }
}

const stepIs = (cluster, n, state) => text(new RegExp(`^Step ${n}, .*: ${state}$`)).or(row(cluster).getByText(new RegExp(`^Step ${n}, .*: ${state}$`))).first().waitFor({ state: 'attached' })

/** The data plane shows this state. */
const stateOf = (name, state) => row(name).getByText(state, { exact: true }).first().waitFor()

async function upgradeIstio(cluster) {
  await go('/meshes/shop/deployment')
  await button(`Upgrade ${cluster}`).click()
  await dialog().getByText('Istio 1.30.0 (1-30) → 1.31.0 (1-31)').waitFor()
  await look(page, `upgrade-popup-${cluster}`)
  await confirm('Upgrade path', 'What will happen', /Nothing that runs is touched/)
}

async function allOf(cluster, namespace) {
  await go(`/clusters/${cluster}/namespaces/${namespace}`)
  await button('Batch Upgrade Sidecars').click()
  await page.getByRole('menuitem', { name: /^All that can be upgraded/ }).click()
  await confirm(/long connections are cut once/)
}

async function moved(cluster, namespace) {
  await go(`/clusters/${cluster}/namespaces`)
  await row(namespace).getByText(/^(\d+) of \1 up to date$/).waitFor()
}

async function gateway(cluster) {
  await go(`/clusters/${cluster}/gateways`)
  await button('Upgrade: istio-ingressgateway').click()
  await confirm('Istio 1.30.0 → 1.31.0')
  await stateOf('istio-ingressgateway', 'Upgraded')
}

async function decommission(cluster) {
  await go('/meshes/shop/deployment')
  await button(`Decommission Old Version ${cluster}`).click()
  const minutes = dialog().getByLabel('Watch it for so many minutes before it is uninstalled')
  await minutes.fill('0')
  await look(page, `decommission-confirm-${cluster}`)
  await confirm(/After that there is no way back/)
}

try {
  await step('log in', async () => {
    await go('/meshes/shop/deployment')
    await look(page, 'login')
    await page.getByLabel(/^Token/).fill('nonsense')
    await button('Log in').click()
    await page.getByRole('alert').first().waitFor()
    await picture(page, 'login-refused')
    await page.getByLabel(/^Token/).fill(WALK_TOKEN)
    await button('Log in').click()
    await row('east').waitFor()
  })

  await step('meshes', async () => {
    await go('/meshes')
    await page.getByRole('link', { name: 'shop' }).waitFor()
    await look(page, 'meshes')
    await button('Create mesh').click()
    await look(page, 'create-mesh')
    await dialog().getByLabel(/^Name/).fill('empty')
    await dialog().getByRole('button', { name: 'Create mesh' }).click()
    await closed()
    await page.getByRole('link', { name: 'empty' }).click()
    await text('No cluster yet').waitFor()
    await look(page, 'mesh-empty')
  })

  await step('before an upgrade: nothing is frozen, and there is nothing to move', async () => {
    await go('/meshes/shop/deployment')
    await row('west').getByText('Connected').waitFor()
    await look(page, 'deployment')
    await button('Add cluster').click()
    await dialog().getByRole('textbox', { name: 'Command that adds a cluster' }).waitFor()
    await look(page, 'add-cluster')
    await dialog().getByRole('button', { name: 'Close', exact: true }).last().click()
    await closed()
    await go('/meshes/shop/sidecars')
    await page.getByLabel('Worker threads').first().fill('2')
    await look(page, 'sidecars')
    await button('Save').click()
    await confirm(/nothing restarts by itself/)
    for (const [part, has] of [['waves', 'No upgrade of the mesh'], ['namespaces', 'bookinfo'], ['history', 'History']]) {
      await go(`/meshes/shop/${part}`)
      await text(has).waitFor()
      await look(page, `mesh-${part}`)
    }
    await go('/clusters/east')
    await text('No upgrade of this cluster').waitFor()
    await look(page, 'cluster-upgrade-none')
  })

  await step('step 1: components', async () => {
    await upgradeIstio('east')
    await text(/Flagger Operator/).waitFor()
    await stepIs('east', 1, '(Needs you|In progress)')
    await go('/clusters/east/components')
    await button('Upgrade Flagger Operator').waitFor()
    await look(page, 'components')
    await button('Upgrade all').click()
    await confirm(/the old version stays/)
    await row('Flagger Operator').getByText('Up to date').waitFor()
    await look(page, 'components-done')
  })

  await step('step 2: the new istiod; everything else is frozen', async () => {
    await go('/meshes/shop/deployment')
    await stepIs('east', 2, 'Done')
    await look(page, 'deployment-running')
    await refuses(button('Add cluster'), /east/)
    await go('/meshes/shop/sidecars')
    await refuses(button('Save'), /east/)
    await look(page, 'sidecars-frozen')
    await go('/meshes')
    await row('shop').getByText('Frozen').waitFor()
  })

  await step('step 3: EnvoyFilters', async () => {
    await go('/clusters/east/namespaces/bookinfo')
    await refuses(button('Upgrade: details-v1'), /EnvoyFilter/)
    await look(page, 'services-before-step-3')
    await go('/envoyfilters')
    await page.getByLabel('Mesh', { exact: true }).selectOption('empty')
    await text('No EnvoyFilter').waitFor()
    await page.getByLabel('Mesh', { exact: true }).selectOption('shop')
    await row('reviews-header').getByText('Not handled').waitFor()
    await button('reviews-header').click()
    await text(/x-reviewed/).waitFor()
    await look(page, 'envoyfilter')
    await button('Mark handled: reviews-header').click()
    await dialog().getByLabel('What was checked or changed').fill('checked with team-reviews')
    await look(page, 'envoyfilter-popup')
    await confirm(/team-reviews/)
    await row('reviews-header').getByText('checked with team-reviews').waitFor()
    await look(page, 'envoyfilter-handled')
  })

  await step('step 4: one service', async () => {
    await go('/clusters/east/namespaces')
    await look(page, 'namespaces')
    await page.getByRole('link', { name: 'bookinfo' }).click()
    await page.getByLabel('Can be upgraded to Istio 1.31.0').first().waitFor()
    await look(page, 'services')
    await button('Upgrade: details-v1').click()
    await look(page, 'move-popup')
    await confirm(/long connections are cut once/, /until the old version is decommissioned/)
    await stateOf('details-v1', 'Upgraded')
    await page.getByText(/An upgrade of data planes runs/).waitFor({ state: 'detached' })
  })

  await step('step 4: some, of which one fails', async () => {
    await page.getByLabel('Choose ratings-v1').check()
    await page.getByLabel('Choose productpage-v1').check()
    await button('Batch Upgrade Sidecars').click()
    await page.getByRole('menuitem', { name: 'The 2 that are chosen' }).click()
    await look(page, 'batch-popup')
    await confirm('Deployment/ratings-v1')
    await text('The upgrade failed').waitFor()
    await text(/ImagePull/).waitFor()
    await look(page, 'failed')
    await button('Re-upgrade: ratings-v1').click()
    await text('The upgrade failed').waitFor({ state: 'detached' })
    kubectl('-n', 'bookinfo', 'patch', 'deployment', 'ratings-v1', '--type=json', '-p', '[{"op":"remove","path":"/spec/template/metadata/annotations/lab.meshlift.dev~1mode"}]')
    await stateOf('ratings-v1', 'Upgraded')
    await page.getByText(/An upgrade of data planes runs/).waitFor({ state: 'detached' })
  })

  await step('step 4: one is moved back', async () => {
    await button('Move back: details-v1').click()
    await confirm('Istio 1.31.0 → 1.30.0')
    await button('Upgrade: details-v1').waitFor()
    await stateOf('details-v1', 'Can be upgraded')
    await page.getByText(/Data planes are moved back/).waitFor({ state: 'detached' })
  })

  await step('a decommission is not possible: what is left is listed, with links', async () => {
    await go('/meshes/shop/deployment')
    await button('Decommission Old Version east').click()
    await dialog().getByRole('link', { name: 'bookinfo/Deployment/details-v1' }).waitFor()
    await dialog().getByRole('link', { name: 'istio-ingress/Deployment/istio-ingressgateway' }).waitFor()
    await look(page, 'decommission-not-possible')
    await dialog().getByRole('link', { name: 'bookinfo/Deployment/details-v1' }).click()
    await button('Upgrade: details-v1').waitFor()
  })

  await step('step 4: all', async () => {
    await allOf('east', 'bookinfo')
    await moved('east', 'bookinfo')
    await allOf('east', 'grpc')
    await moved('east', 'grpc')
    await gateway('east')
    await look(page, 'gateways')
  })

  await step('step 5 waits for the other cluster', async () => {
    await go('/meshes/shop/deployment')
    await stepIs('east', 4, 'Done')
    await decommission('east')
    await row('east').getByText(/west/).first().waitFor()
    await look(page, 'decommission-waits')
    await go('/clusters/east/upgrade')
    await text(/was asked for by/).waitFor()
    await look(page, 'cluster-upgrade')
  })

  await step('the other cluster', async () => {
    await upgradeIstio('west')
    await stepIs('west', 3, 'Done')
    await allOf('west', 'bookinfo')
    await moved('west', 'bookinfo')
    await allOf('west', 'grpc')
    await moved('west', 'grpc')
    await gateway('west')
  })

  await step('step 5', async () => {
    await decommission('west')
    for (const cluster of ['east', 'west']) {
      await go(`/clusters/${cluster}/upgrade`)
      await text(/^Step 5/).waitFor()
      await page.getByRole('listitem').filter({ hasText: 'Step 5' }).getByText('Done', { exact: true }).waitFor({ timeout: 240_000 })
    }
    await look(page, 'cluster-upgrade-done')
    const [report] = await Promise.all([page.waitForEvent('popup'), page.getByRole('link', { name: 'Report' }).click()])
    await report.getByRole('heading', { name: 'Upgrade of Istio of west from 1.30.0 to 1.31.0' }).waitFor()
    await look(report, 'report')
    await report.close()
    await go('/meshes/shop/deployment')
    await button('Add cluster').click()
    await dialog().getByRole('button', { name: 'Close', exact: true }).last().click()
    await closed()
    await look(page, 'deployment-done')
    await go('/meshes/shop/history')
    await look(page, 'history')
  })

  await step('a page that is none', async () => {
    await go('/nowhere')
    await text('There is no such page').waitFor()
    await look(page, 'not-found')
  })

  const pages = ['/meshes', '/meshes/shop/deployment', '/clusters/east/upgrade', '/clusters/east/components', '/clusters/east/namespaces/bookinfo', '/clusters/east/gateways', '/envoyfilters', '/meshes/shop/sidecars', '/meshes/shop/waves']
  const nameOf = (path) => path.slice(1).replaceAll('/', '-')

  await step('dark', async () => {
    await button('Appearance').click()
    await page.getByRole('menuitem', { name: 'Dark' }).click()
    for (const path of pages) {
      await go(path)
      await look(page, `dark-${nameOf(path)}`)
    }
  })

  await step('on a phone, in Chinese', async () => {
    await page.setViewportSize({ width: 390, height: 844 })
    await button('Language').click()
    await page.getByRole('menuitem', { name: '中文' }).click()
    const wide = []
    for (const path of pages) {
      await go(path)
      await look(page, `phone-${nameOf(path)}`)
      const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (over > 0) {
        wide.push(`${path} is ${over} px wider than a phone`)
      }
    }
    if (wide.length > 0) {
      throw new Error(wide.join('\n'))
    }
  })

  await step('log out', async () => {
    await page.getByRole('button', { name: /^用户/ }).click()
    await page.getByRole('menuitem').last().click()
    await page.locator('#token').waitFor()
  })
} catch (error) {
  await picture(page, 'failed-here').catch(() => undefined)
  console.error(`at "${at}", ${page.url()}:\n${error.stack ?? error}\n\nThe page says:\n${await page.locator('body').innerText().catch(() => '')}`)
  process.exitCode = 1
} finally {
  await close()
}
if (wrong.length > 0) {
  console.error(`The browser complained:\n${wrong.join('\n')}`)
  process.exitCode = 1
}
