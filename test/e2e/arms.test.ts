import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { adminCall, call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

let redis: RedisServer
const dir = mkdtempSync(join(tmpdir(), 'arms-'))
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(async () => {
  await redis.discard()
  rmSync(dir, { recursive: true, force: true })
})

const STORES = {
  Redis: () => ({ kind: 'redis', url: redis.url }),
  SQLite: () => ({ kind: 'sqlite', path: join(dir, 'store.db') }),
}

async function armsOf(gateway: RunningGateway) {
  const { arms, policies } = (await (await adminCall(gateway, '/status')).json()) as {
    arms: Record<string, { rewards: number; mean: number }>
    policies: { policy: string }
  }
  return arms[policies.policy] ?? { rewards: 0, mean: 0 }
}

test.each(Object.entries(STORES))(
  'replicas on one %s tell the rewards of all',
  { timeout: 120_000 },
  async (_, store) => {
    const start = () => startGateway({ store: store(), identity: { secret: 'one secret for both replicas' } })
    const [one, two] = [await start(), await start()]
    try {
      for (const [gateway, rating] of [
        [one, 1],
        [one, 1],
        [two, 0.5],
        [two, 0],
        [two, 0],
      ] as const) {
        // biome-ignore format: one list
        const answer = await complete(gateway, {}, { user: 'ann' })
        await answer.text()
        const body = { request_id: answer.headers.get('x-request-id'), rating }
        expect((await call(gateway, '/v1/feedback', { user: 'ann', body })).status).toBe(202)
      }
      const all = { rewards: 5, mean: 0 }
      for (const gateway of [one, two]) {
        await eventually(async () => (await armsOf(gateway)).rewards === 5, 'what both have heard')
        expect(await armsOf(gateway)).toMatchObject(all)
      }
      await two.stop()
      const three = await start()
      expect(await armsOf(three)).toMatchObject(all)
      await discard(three)
    } finally {
      await Promise.all([one, two].map(discard))
    }
  },
)
