import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigSource } from '../../src/config/source.ts'
import { RequestIds } from '../../src/pipeline/request-ids.ts'
import { createApp } from '../../src/server/app.ts'
import { directly } from '../../src/server/direct.ts'
import { createHttpServer } from '../../src/server/http-server.ts'
import type { Services } from '../../src/services/contract.ts'
import { closeServices, createServices } from '../../src/services.ts'
import { silent } from '../routing/support.ts'
import { TEST_KEY, testConfig } from '../support/gateway.ts'

const IDENTITY_SECRET = 'a secret of user ids for these tests'
const OTHER_KEY = 'pr-other-key-0123456789abcdef'
/** Of one tenant, at once. */
const MOST = 1_000

let services: Services
let server: Server
let dir: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'feedback-overload-'))
  const path = join(dir, 'gateway.yaml')
  const config = {
    tenants: [
      { name: 'test', keys: [TEST_KEY] },
      { name: 'other', keys: [OTHER_KEY] },
    ],
    router: { artifact: join(dir, 'none'), watch: false },
    identity: { secret: IDENTITY_SECRET },
  }
  // YAML holds JSON.
  writeFileSync(path, JSON.stringify(testConfig(config, dir)))
  services = await createServices(await ConfigSource.open(path, loadConfig(path)), silent)
  server = createHttpServer({
    fetch: createApp(services).fetch,
    shortcut: directly(services),
    config: services.snapshot().config.server,
    cors: () => services.snapshot().config.cors,
    writeIdleMs: () => services.snapshot().config.server.write_idle_timeout_ms,
    errors: services,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
const { promise: found, resolve: find } = Promise.withResolvers<boolean>()
afterAll(async () => {
  find(true)
  server.closeAllConnections()
  server.close()
  await closeServices(services)
  rmSync(dir, { recursive: true, force: true })
})

const ids = new RequestIds(IDENTITY_SECRET)
const rate = (tenant: string, key: string) =>
  fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/feedback`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ request_id: ids.next(tenant, Date.now()), rating: 'up' }),
  })

test('where too much waits for answers, more is to be tried again, by the tenant it is of', async () => {
  // However slow the machine is, all of them still wait.
  for (let i = 0; i < MOST; i++) expect(services.pendingFeedback.add('test', () => found, 60_000)).toBe(true)
  const refused = await rate('test', TEST_KEY)
  expect(refused.status).toBe(503)
  expect(refused.headers.get('retry-after')).toBe('1')
  expect((await refused.json()).error.code).toBe('overloaded')
  expect((await rate('other', OTHER_KEY)).status).toBe(202)
})
