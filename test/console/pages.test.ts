import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import OpenAI from 'openai'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { browserName, openBrowser } from '../support/browser.ts'
import { call } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway, TEST_KEY } from '../support/gateway.ts'

const READ_KEY = 'pr-reader-key-0123456789abcdef'
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PAGES = ['overview', 'playground', 'user/ann', 'models', 'learning', 'keys']
const ARTIFACT = realpathSync(fileURLToPath(new URL('../../router-model/artifacts/current', import.meta.url)))

/** What `retrain` leaves of a run: router-model/router_model/retrain/report.py. */
const RUN = {
  ...{ version: '2026.11.27-9', current: '2026.11.28-2', at: '2026-11-27T08:00:00Z', tenants: ['test'] },
  ...{ accepted: false, published: false, rewards: 4_000, users: 200, gain: { value: -0.01, low: -0.03, high: 0.01 } },
  gates: [
    { name: 'golden', figure: 0, limit: 0.0001, short: 0, waived: false, says: 'as in training' },
    { name: 'value', figure: -0.03, limit: -0.01, short: 0.02, waived: false, says: 'surely no worse is not shown' },
  ],
}

/** The artifact, another version of it, and a refused retraining, in a folder as an operator has it. */
function artifactsFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'console-artifacts-'))
  for (const version of ['first', 'second']) cpSync(ARTIFACT, join(folder, version), { recursive: true })
  const file = join(folder, 'second', 'manifest.json')
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), version: 'second' }))
  mkdirSync(join(folder, 'runs'))
  writeFileSync(join(folder, 'runs', `${RUN.version}.json`), JSON.stringify(RUN))
  writeFileSync(join(folder, 'runs', 'broken.json'), '{"version": 1')
  return folder
}

/** `SCREENSHOTS=1` writes them into docs/. */
const SHOTS = process.env.SCREENSHOTS === '1' ? fileURLToPath(new URL('../../docs/console/', import.meta.url)) : null

describe.skipIf(!browserName)('the console in a browser', () => {
  let gateway: RunningGateway
  let browser: Browser
  let artifacts: string
  /** Of one of ann's. */
  let requestId = ''

  beforeAll(async () => {
    artifacts = artifactsFolder()
    gateway = await startGateway({
      console: { enabled: true, read_key: READ_KEY },
      router: { artifact: join(artifacts, 'first'), baseline: 'sandbox-terse', mode: 'route', explore: false },
      tenants: [
        {
          name: 'test',
          keys: [TEST_KEY],
          ...{ limits: { usd_per_day: 10 }, key_limits: { requests_per_minute: 500 }, user_limits: { usd_per_day: 2 } },
        },
      ],
    })
    browser = await openBrowser()
    const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
    const questions = ['Why is the sky blue?', 'Sort a list in Python.', 'Name three rivers.', 'Prove that 2 is prime.']
    for (const [i, user] of ['ann', 'ben', 'ann', 'cleo', 'ann', 'ben'].entries()) {
      const { response } = await client.chat.completions
        .create(
          { model: 'auto', messages: [{ role: 'user', content: questions[i % questions.length] as string }] },
          { headers: { 'x-user-id': user } },
        )
        .withResponse()
      const body = { request_id: response.headers.get('x-request-id'), rating: i % 3 === 0 ? 'down' : 'up' }
      if (user === 'ann') requestId = String(body.request_id)
      await client.post('/feedback', { body, headers: { 'x-user-id': user } })
    }
  })
  afterAll(async () => {
    await browser?.close()
    await discard(gateway)
    rmSync(artifacts, { recursive: true, force: true })
  })

  async function open(context: BrowserContext, key: string): Promise<Page> {
    const page = await context.newPage()
    page.on('pageerror', (error) => problems.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('401')) problems.push(message.text())
    })
    await page.goto(`${gateway.url}/console/`)
    await page.getByLabel(/Admin key/).fill(key)
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('navigation').waitFor()
    return page
  }

  /** What scripts threw, and what the policy of the page refused. */
  const problems: string[] = []

  const goTo = async (page: Page, place: string) => {
    await page.goto(`${gateway.url}/console/#${place}`)
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.waitForFunction(() => !document.body.textContent?.includes('Loading …'))
  }

  test.each(['light', 'dark'] as const)(
    'every page has no violation of accessibility rules, %s',
    async (colorScheme) => {
      problems.length = 0
      const context = await browser.newContext({ colorScheme, viewport: { width: 1280, height: 900 } })
      const page = await open(context, ADMIN_KEY)
      for (const place of PAGES) {
        await goTo(page, place)
        if (place === 'playground') {
          await page.getByRole('button', { name: 'Decide', exact: true }).click()
          await page.locator('#decision').waitFor()
        }
        if (place === 'models')
          await page
            .getByRole('button', { name: /^sandbox/ })
            .first()
            .click()
        await page.evaluate(AXE)
        const { violations } = (await page.evaluate('axe.run()')) as {
          violations: { id: string; nodes: { html: string }[] }[]
        }
        expect(violations.map(({ id, nodes }) => [place, id, nodes[0]?.html])).toEqual([])
        const [name] = place.split('/')
        if (SHOTS && colorScheme === 'light') await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true })
      }
      expect(problems).toEqual([])
      await context.close()
    },
  )

  test('fits a phone: nothing but tables is wider than the screen', async () => {
    const context = await browser.newContext({ viewport: { width: 375, height: 700 } })
    const page = await open(context, ADMIN_KEY)
    for (const place of PAGES) {
      await goTo(page, place)
      expect(await page.evaluate(() => document.documentElement.scrollWidth), place).toBeLessThanOrEqual(375)
    }
    await context.close()
  })

  test('a rating in the playground moves what is expected, and the user page knows it', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    await goTo(page, 'playground')
    await page.getByLabel('User', { exact: true }).fill('zoe')
    await page.getByRole('button', { name: 'Decide and answer' }).click()
    const bad = page.getByRole('button', { name: 'Bad answer' })
    await bad.waitFor()
    const decision = page.locator('#decision')
    expect(await decision.textContent()).toContain('0 ratings known')
    const chosen = await page.locator('tr.chosen td').first().textContent()
    await bad.click()
    await page.getByText('1 ratings known').waitFor()
    // The column says by how much each candidate has moved: the one that was rated down falls.
    const row = page
      .getByRole('row')
      .filter({ hasText: String(chosen) })
      .first()
    expect(await row.getByRole('cell').nth(2).textContent()).toMatch(/^−0\.\d+/)
    expect(await decision.textContent()).toMatch(/rated .* up 0 of 1 time|expected to like best/)
    // And the belief: what was, and what is now.
    const worth = page.getByRole('region', { name: 'What it is worth to them' })
    const quality = worth.getByRole('row').filter({ hasText: 'A right answer' }).getByRole('cell')
    const [was, now] = [await quality.nth(1).textContent(), await quality.nth(2).textContent()]
    expect(was).toMatch(/^[+−]0\.\d+ \([+−]0\.\d+ to [+−][01]\.\d+\)$/)
    expect(now).not.toBe(was)
    await page.getByRole('link', { name: /what is known of zoe/ }).click()
    await page.getByText('What they said of each model').waitFor()
    await page
      .getByRole('button', { name: /Why this one/ })
      .first()
      .click()
    await page.getByRole('region', { name: 'What was weighed' }).waitFor()
    await context.close()
  })

  test('never this model: the next decision leaves it out, and erasing takes the wish along', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    page.on('dialog', (dialog) => dialog.accept())
    await goTo(page, 'playground')
    await page.getByLabel('User', { exact: true }).fill('ben')
    await page.getByRole('button', { name: 'Decide', exact: true }).click()
    const chosen = String(await page.locator('tr.chosen td').first().textContent())
    await goTo(page, 'user/ben')
    await page.getByLabel('Never these models').fill(chosen)
    await page.getByRole('button', { name: 'Save' }).click()
    await goTo(page, 'playground')
    await page.getByLabel('User', { exact: true }).fill('ben')
    await page.getByRole('button', { name: 'Decide', exact: true }).click()
    await page.getByText(/Left out: /).waitFor()
    expect(await page.locator('tr.chosen td').first().textContent()).not.toBe(chosen)
    await goTo(page, 'user/ben')
    await page.getByRole('button', { name: 'Erase' }).click()
    await page.getByText(/no such user/i).waitFor()
    await context.close()
  })

  test('this one for code: the next question about code goes there, and the page of the user says why', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    const decide = async (question: string, button = 'Decide') => {
      await goTo(page, 'playground')
      await page.getByLabel('User', { exact: true }).fill('cleo')
      await page.getByLabel('Question').fill(question)
      const explained = page.waitForResponse(/api\/explain/)
      await page.getByRole('button', { name: button, exact: true }).click()
      await explained
      await page.getByText('Working …').waitFor({ state: 'hidden' })
      return String(await page.locator('tr.chosen td').first().textContent())
    }
    const code = 'Write a Python function that merges two sorted lists.'
    const wanted = (await decide(code)) === 'sandbox-coder' ? 'sandbox-premium' : 'sandbox-coder'
    const told = `They stated that ${wanted} answers code.`
    await goTo(page, 'user/cleo')
    await page.getByLabel('For code').selectOption(wanted)
    const saved = page.waitForResponse((response) => response.request().method() === 'PUT')
    await page.getByRole('button', { name: 'Save' }).click()
    expect((await saved).status()).toBe(200)
    expect(await decide('Write a short poem about autumn.')).toMatch(/^sandbox-/)
    expect(await page.getByText(told).count()).toBe(0)
    // No kind has the half that counts: none is named.
    await decide('Which of these two would you take with you?')
    expect(await page.locator('#decision').textContent()).not.toContain('read as')
    const kept = async () => {
      const { interactions } = await (await call(gateway, '/v1/users/cleo/profile')).json()
      return interactions.length
    }
    const before = await kept()
    expect(await decide(code, 'Decide and answer')).toBe(wanted)
    await page.getByText(told).waitFor()
    expect(await page.locator('#decision').textContent()).toMatch(/read as code, \d/)
    await page.getByRole('heading', { name: `${wanted} answered` }).waitFor()
    await eventually(async () => (await kept()) > before, 'the answer is kept')
    await goTo(page, 'user/cleo')
    const latest = page.getByRole('region', { name: 'Latest requests' }).getByRole('row').filter({ hasText: 'stated' })
    await latest.getByRole('button', { name: /Why this one/ }).click()
    // What they want today says nothing of then.
    await page.getByText(`They stated that ${wanted} answers tasks of this kind.`).waitFor()
    await context.close()
  })

  test('what a user likes is told with intervals, and why one answered, by the id of a past request', async () => {
    const context = await browser.newContext()
    const page = await open(context, READ_KEY)
    await goTo(page, 'user/ann')
    const worth = page.getByRole('region', { name: 'What it is worth to them' })
    expect(await worth.getByRole('row').count()).toBe(4)
    await page.getByText('Makers and models').click()
    expect(await page.getByRole('region', { name: 'Likings' }).textContent()).toContain('sandbox-terse')
    await page.getByText('No change of taste could be found yet').waitFor()
    await page.getByRole('region', { name: 'Limits of this user' }).getByText('usd, a day').waitFor()
    await page.getByLabel(/Request's id/).fill(requestId)
    await page.getByRole('button', { name: 'Why did this one answer?' }).click()
    await page.getByRole('region', { name: 'What was weighed' }).waitFor()
    await page.getByText(/Chosen over sandbox-|Compared with sandbox-/).waitFor()
    await page.getByLabel(/Request's id/).fill('req_nowhere')
    await page.getByRole('button', { name: 'Why did this one answer?' }).click()
    await page.getByText('There is no such request.').waitFor()
    await context.close()
  })

  test('a model: predictions beside what came, and what happens without it', async () => {
    const context = await browser.newContext()
    const page = await open(context, READ_KEY)
    await goTo(page, 'models')
    const rows = page.getByRole('region', { name: 'Models' }).getByRole('row')
    const shares = await rows.evaluateAll((all) => all.map((row) => row.children[1]?.textContent ?? ''))
    const busiest = shares.findIndex((share) => /^[1-9]/.test(share) && Number.parseFloat(share) > 0)
    await rows.nth(busiest).getByRole('button').click()
    for (const name of ['Reward', 'Quality', 'Length', 'Cost']) {
      await page.getByRole('heading', { name: `${name}: predicted and real` }).waitFor()
    }
    await page.getByRole('img', { name: /Tokens of answers by predicted tokens/ }).waitFor()
    const successors = page.getByRole('region', { name: 'Who would have answered' })
    expect(await successors.getByRole('row').count()).toBeGreaterThan(1)
    await page.getByText('No provider refused anything of late.').waitFor()
    await context.close()
  })

  test('gates of a refused retraining; back to the version before, at a click and a yes', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    await goTo(page, 'learning')
    const gates = page.getByRole('region', { name: `Gates of ${RUN.version}` })
    expect(await gates.getByRole('row').filter({ hasText: 'value' }).textContent()).toContain('refused, short by 0.02')
    await page.getByRole('heading', { name: 'Whose word counts for others' }).waitFor()
    await eventually(async () => {
      const headers = { authorization: `Bearer ${ADMIN_KEY}` }
      const evidence = await fetch(`${gateway.url}/admin/evidence?tenant=test`, { headers })
      return ((await evidence.json()) as { lengths?: unknown[] }).lengths !== undefined
    }, 'lengths are learned')
    await page.reload()
    const lengths = page.getByRole('region', { name: 'Lengths of answers by voice' })
    expect(await lengths.textContent()).toMatch(/not yet.*config-test-0: \d+ × [\d.]+ times as long/)
    const first = await page.getByRole('region', { name: 'Artifacts' }).textContent()
    const reload = await fetch(`${gateway.url}/admin/artifact/reload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ artifact: join(artifacts, 'second') }),
    })
    expect(reload.status).toBe(200)
    await page.reload()
    await page.getByRole('region', { name: 'Artifacts' }).getByText('second').waitFor()
    const answers = [false, true]
    page.on('dialog', (dialog) => void (answers.shift() ? dialog.accept() : dialog.dismiss()))
    const back = page.getByRole('button', { name: /^Roll back to/ })
    await back.click()
    expect(await page.getByRole('region', { name: 'Artifacts' }).textContent()).toContain('second')
    await back.click()
    await expect.poll(() => page.getByRole('region', { name: 'Artifacts' }).textContent()).toBe(first)
    await context.close()
  })

  test('what tenant and keys have used and left, to a reader, too', async () => {
    const context = await browser.newContext()
    const page = await open(context, READ_KEY)
    await goTo(page, 'keys')
    const left = page.getByRole('region', { name: 'Limits of the tenant' })
    expect(await left.textContent()).toContain('$10')
    await page.getByRole('region', { name: 'Limits of key config-test-0' }).getByText('requests, a minute').waitFor()
    await page.getByRole('region', { name: 'Used in thirty days, by user' }).waitFor()
    expect(await page.getByRole('button', { name: 'Create' }).count()).toBe(0)
    await context.close()
  })

  test('a key is made, shown once, works, and is revoked', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    page.on('dialog', (dialog) => dialog.accept())
    await goTo(page, 'keys')
    await page.getByLabel('What it is for').fill('from the console')
    await page.getByRole('button', { name: 'Create' }).click()
    const key = String(await page.getByRole('status').locator('code').textContent())
    const models = () => fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
    expect((await models()).status).toBe(200)
    await page.getByRole('button', { name: 'Revoke' }).first().click()
    await page.getByText('revoked').first().waitFor()
    expect((await models()).status).toBe(401)
    await context.close()
  })

  test('the mode is switched on the page of learning, and the next request follows', async () => {
    const context = await browser.newContext()
    const page = await open(context, ADMIN_KEY)
    await goTo(page, 'learning')
    const choose = (value: string) => page.getByLabel(/^Mode, against/).selectOption(value)
    await choose('observe')
    await expect
      .poll(async () => {
        const client = new OpenAI({ baseURL: gateway.baseURL, apiKey: gateway.key, maxRetries: 0 })
        const { response } = await client.chat.completions
          .create({ model: 'auto', messages: [{ role: 'user', content: 'Hello' }] })
          .withResponse()
        return response.headers.get('x-router-reason')
      })
      .toBe('fallback;baseline')
    await choose('')
    await context.close()
  })

  test('a reader looks and changes nothing; who logs out, or whose session ends, sees the login again', async () => {
    const context = await browser.newContext()
    const page = await open(context, READ_KEY)
    await goTo(page, 'learning')
    expect(await page.getByLabel(/^Mode, against/).isDisabled()).toBe(true)
    await goTo(page, 'playground')
    expect(await page.getByRole('button', { name: 'Decide and answer' }).isDisabled()).toBe(true)
    await page.getByRole('button', { name: 'Decide', exact: true }).click()
    await page.locator('#decision').waitFor()
    // The cookie goes, as it does when its time is over.
    await context.clearCookies()
    await page.getByRole('link', { name: 'Models' }).click()
    await page.getByLabel(/Admin key/).waitFor()
    await context.close()
  })

  test('is used from the keyboard alone', async () => {
    const context = await browser.newContext()
    const page = await context.newPage()
    await page.goto(`${gateway.url}/console/`)
    await page.getByLabel(/Admin key/).waitFor()
    await page.keyboard.press('Tab')
    await page.keyboard.type(ADMIN_KEY)
    await page.keyboard.press('Enter')
    await page.getByRole('navigation').waitFor()
    const passed: (string | null | undefined)[] = []
    const focused = () => page.evaluate(() => document.activeElement?.textContent)
    while ((await focused()) !== 'Playground' && passed.length < 40) {
      await page.keyboard.press('Tab')
      passed.push(await focused())
    }
    expect(passed).toContain('Skip to the page')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'Playground' }).waitFor()
    await context.close()
  })
})
