import { spawnSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminCall, complete, expectError } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

/** Budgets, rates, revocation and readiness on a disk without room: a small file system of its own, in memory. */
const DISK_MB = 12
const UNDER = ['unshare', '--user', '--map-root-user', '--mount']
const canMount = spawnSync(UNDER[0] as string, [...UNDER.slice(1), 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0

const BUDGET_KEY = 'pr-budget-0123456789abcdef'
const RATE_KEY = 'pr-rate-0123456789abcdef'
const COST_USD = 0.01

let upstream: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  if (!canMount) return
  upstream = await startUpstream((exchange) =>
    exchange.reply(
      200,
      completionBody('Yes.', { usage: { prompt_tokens: 0, completion_tokens: 10, total_tokens: 10 } }),
    ),
  )
  const script = `mount -t tmpfs -o size=${DISK_MB}m none /mnt && exec "$@"`
  gateway = await startGateway(
    {
      store: { kind: 'sqlite', path: '/mnt/gateway.db' },
      spool: { path: '/mnt/spool' },
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'one', provider: 'up', price: { input: 0, output: 1_000 } }],
      tenants: [
        { name: 'budget', keys: [BUDGET_KEY], limits: { usd_per_day: 5 * COST_USD } },
        { name: 'rate', keys: [RATE_KEY], limits: { requests_per_minute: 10 } },
      ],
    },
    { under: [...UNDER, 'sh', '-c', script, 'sh'] },
  )
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

/** The gateway's own view of its disk. */
const onDisk = (name: string) => join(`/proc/${gateway.process.pid}/root/mnt`, name)

function fill(): void {
  for (const bytes of [1024 * 1024, 64 * 1024, 4096, 512]) {
    for (let i = 0; ; i++) {
      const path = onDisk(`filler-${bytes}-${i}`)
      try {
        writeFileSync(path, Buffer.alloc(bytes, 1))
      } catch {
        rmSync(path, { force: true })
        break
      }
    }
  }
}

async function ask(key: string, times: number): Promise<number> {
  let answered = 0
  for (let i = 0; i < times; i++) {
    const response = await complete(gateway, { model: 'one', max_tokens: 10 }, { key })
    const text = await response.text()
    if (response.status === 200) answered++
    else expect([response.status, expectError(text).code]).toEqual([429, expect.stringMatching(/quota|rate_limit/)])
  }
  return answered
}

const readiness = async () => (await (await fetch(`${gateway.url}/readyz`)).json()) as { components: Components }
type Components = Record<string, { state: string; detail: string }>

test.skipIf(!canMount)(
  'a full disk: limits hold, a key is revoked, readiness tells, and all is made up for',
  async () => {
    const made = await adminCall(gateway, '/keys', { body: { tenant: 'rate' } })
    const { id, key } = (await made.json()) as { id: string; key: string }
    expect(await ask(key, 1)).toBe(1)
    expect(await ask(BUDGET_KEY, 2)).toBe(2)
    expect(existsSync(onDisk('gateway.db-reserve'))).toBe(true)
    fill()
    expect(await ask(BUDGET_KEY, 30)).toBeLessThanOrEqual(3)
    expect(await ask(RATE_KEY, 30)).toBeLessThanOrEqual(10)
    await eventually(async () => {
      const { components } = await readiness()
      return components.store?.state === 'degraded' && /takes no writes: .*(full|I\/O)/.test(components.store.detail)
    }, 'the cause is told')
    const revoked = await adminCall(gateway, `/keys/${id}`, { method: 'DELETE' })
    expect(revoked.status).toBe(200)
    expect((await complete(gateway, { model: 'one' }, { key })).status).toBe(401)
    for (const bytes of [1024 * 1024, 64 * 1024, 4096]) {
      for (let i = 0; existsSync(onDisk(`filler-${bytes}-${i}`)); i++) rmSync(onDisk(`filler-${bytes}-${i}`))
    }
    await eventually(async () => {
      const { components } = await readiness()
      return components.store?.state === 'ok' && components.limits?.state === 'ok'
    }, 'the store counts again')
    expect(await ask(BUDGET_KEY, 10)).toBe(0)
  },
)
