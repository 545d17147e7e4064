import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { browserName, openBrowser } from '../support/browser.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'

describe.skipIf(!browserName)('a page in a browser', () => {
  let site: Server
  let gateway: RunningGateway
  let browser: Browser
  let page: Page
  let stranger: Page

  beforeAll(async () => {
    site = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<title>page</title>'))
    await new Promise<void>((listening) => site.listen(0, '127.0.0.1', listening))
    const { port } = site.address() as AddressInfo
    gateway = await startGateway({ cors: { origins: [`http://127.0.0.1:${port}`] } })
    browser = await openBrowser()
    page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${port}/`)
    stranger = await browser.newPage()
    await stranger.goto(`http://localhost:${port}/`)
  })
  afterAll(async () => {
    await browser?.close()
    await discard(gateway)
    site?.close()
  })

  /** As the OpenAI SDK sends it from a page, with its own headers, which make a preflight necessary. */
  const ask = (from: Page, stream: boolean) =>
    from.evaluate(
      async ({ url, key, stream }) => {
        try {
          const response = await fetch(`${url}/v1/chat/completions`, {
            method: 'POST',
            headers: {
              authorization: `Bearer ${key}`,
              'content-type': 'application/json',
              'x-stainless-lang': 'js',
              'x-user-id': 'ann',
            },
            body: JSON.stringify({ model: 'auto', stream, messages: [{ role: 'user', content: 'Hi' }] }),
          })
          return {
            status: response.status,
            model: response.headers.get('x-router-model'),
            id: response.headers.get('x-request-id'),
            text: await response.text(),
          }
        } catch (error) {
          return { status: 0, model: null, id: null, text: String(error) }
        }
      },
      { url: gateway.url, key: gateway.key, stream },
    )

  test.each([false, true])('of a configured origin reads the answer and our headers; streamed: %s', async (stream) => {
    const { status, model, id, text } = await ask(page, stream)
    expect([status, text]).toEqual([200, expect.stringContaining('sandbox')])
    expect(model).toMatch(/^sandbox-/)
    expect(id).toMatch(/^req_/)
  })

  test('reads an error, too', async () => {
    const status = await page.evaluate(
      async (url) => (await fetch(`${url}/v1/models`, { headers: { 'x-api-key': 'wrong-key-0123' } })).status,
      gateway.url,
    )
    expect(status).toBe(401)
  })

  test('of another origin is kept away by the browser', async () => {
    expect(await ask(stranger, false)).toMatchObject({ status: 0, text: expect.stringContaining('Failed to fetch') })
  })
})
