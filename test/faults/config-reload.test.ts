import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { adminCall, call, complete, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway, testConfig } from '../support/gateway.ts'

let gateway: RunningGateway
beforeAll(async () => {
  gateway = await startGateway({}, { env: { BUDGET: '5' } })
})
afterAll(() => discard(gateway))

const readyz = async () => (await (await call(gateway, '/readyz', { key: '' })).json()) as Ready
interface Ready {
  status: string
  components: Record<string, { state: string; detail: string }>
}
const configuration = async () => (await readyz()).components.configuration
const failed = () => metric(gateway, 'persona_router_config_reload_failed')
const good = () => stringify(testConfig({}, gateway.dir))

it('a configuration that broke is told in /readyz, status and a gauge, until it is mended; requests go on', async () => {
  expect(await configuration()).toMatchObject({ state: 'ok' })
  expect(await failed()).toBe(0)

  writeFileSync(gateway.configFile, `${good()}log: { level: loud }\n`)
  await eventually(async () => (await configuration())?.state === 'degraded', 'told')
  const { status, components } = await readyz()
  expect(status).toBe('degraded')
  expect(components.configuration?.detail).toMatch(/^not reloaded, that of 20\S+Z is in force: .*log\.level: /)
  expect(await failed()).toBe(1)
  const admin = (await (await adminCall(gateway, '/status')).json()) as Ready
  expect(admin.components.configuration?.state).toBe('degraded')
  expect((await complete(gateway)).status).toBe(200)

  writeFileSync(gateway.configFile, good())
  await eventually(async () => (await configuration())?.state === 'ok', 'mended')
  expect(await failed()).toBe(0)
})

it('mends itself when a file is mended that only the broken version includes', async () => {
  const included = join(gateway.dir, 'more.yaml')
  writeFileSync(included, 'providers: [')
  const { include, ...rest } = testConfig({}, gateway.dir) as { include: string[] }
  writeFileSync(gateway.configFile, stringify({ ...rest, include: [...include, included] }))
  await eventually(async () => (await configuration())?.state === 'degraded', 'told')
  writeFileSync(included, 'providers: { another: { kind: sandbox, enabled: true } }')
  await eventually(async () => (await configuration())?.state === 'ok', 'mended')
})

it('a variable that the running process lacks: the reload is refused, and no limit falls away', async () => {
  const limited = (variable: string) =>
    stringify({
      ...testConfig({}, gateway.dir),
      tenants: [{ name: 'test', keys: [gateway.key], limits: { usd_per_day: `\${${variable}}` } }],
    })
  writeFileSync(gateway.configFile, limited('BUDGET'))
  await eventually(async () => (await configuration())?.state === 'ok', 'taken in')
  writeFileSync(gateway.configFile, limited('BUDGGET'))
  await eventually(async () => (await configuration())?.state === 'degraded', 'refused')
  expect((await configuration())?.detail).toContain('tenants.0.limits.usd_per_day: the variable BUDGGET is not set')
})

it('a catalogue that is no JSON is told, too', async () => {
  const file = join(gateway.dir, 'catalogue.json')
  writeFileSync(gateway.configFile, stringify(testConfig({ catalogue: { file } }, gateway.dir)))
  await eventually(async () => (await configuration())?.state === 'ok', 'taken in')
  writeFileSync(file, '{')
  await eventually(async () => (await configuration())?.state === 'degraded', 'told')
  expect((await configuration())?.detail).toContain('catalogue.json is no JSON')
  appendFileSync(file, '"fetched_at":"2026-11-01T00:00:00Z","source":"x","providers":{}}')
  await eventually(async () => (await configuration())?.state === 'ok', 'mended')
})
