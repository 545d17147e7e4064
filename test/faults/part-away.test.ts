import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Archive } from '../../src/store/archive/archive.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store } from '../../src/store/store.ts'
import { anInteraction, aReward } from '../store/records.ts'
import { adminCall } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { type RedisCluster, startRedisCluster, until } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const CLI = fileURLToPath(new URL('../../bin/persona-router.mjs', import.meta.url))
/** By their hashes on the third, first and second of three masters; what all tenants share is not on the second. */
const [HERE, ALSO, GONE] = ['a', 'b', 'c']
const TENANTS = [HERE, ALSO, GONE] as string[]
const DEAD = 1
const DAY_MS = 86_400_000

describe('of a Cluster of three, the master of one tenant is dead', () => {
  let cluster: RedisCluster
  let upstream: Upstream
  let gateway: RunningGateway
  let store: Store
  const old = TENANTS.flatMap((tenant) => [1, 2].map(() => anInteraction({ tenant, ts: Date.now() - 40 * DAY_MS })))

  beforeAll(async () => {
    ;[cluster, upstream] = await Promise.all([startRedisCluster(), startUpstream(replyPlain())])
    const config = { kind: 'redis', cluster: cluster.addresses, retention_days: 90 } as const
    store = await openStore({ ...config, command_timeout_ms: 1_000 })
    await store.appendInteractions(old)
    await store.appendRewards(old.map(({ tenant, id, ts }) => aReward({ tenant, interaction: id, ts })))
    for (const tenant of TENANTS) {
      const expiresAt = Date.now() + DAY_MS
      await store.noteRefusals(tenant, [{ deployment: 'up/one', field: 'temperature', expiresAt }])
      await store.saveMode(tenant, 'observe')
      await store.addEvidence(tenant, 'arms:shared', 'v1', Float32Array.of(1, 1, 1))
    }
    await store.eraseUser(GONE as string, 'bob')
    gateway = await startGateway({
      store: config,
      providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
      candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
      router: { baseline: 'one' },
      tenants: TENANTS.map((name) => ({ name, keys: [`pr-${name}-0123456789abcdef`] })),
    })
    await cluster.masters[DEAD]?.kill()
    await until(async () => (await get('/modes')).missing !== undefined)
  })
  afterAll(async () => {
    await discard(gateway)
    await store?.close()
    await Promise.all([upstream?.close(), cluster?.discard()])
  })

  const get = async (path: string) => (await adminCall(gateway, path)).json()
  const missing = [{ tenant: GONE, reason: expect.stringContaining(`(the part of tenant '${GONE}')`) }]
  const cli = (...args: string[]) =>
    promisify(execFile)(process.execPath, [CLI, '--config', gateway.configFile, ...args]).then(
      ({ stdout, stderr }) => ({ stdout, stderr }),
      ({ stdout, stderr }) => ({ stdout: String(stdout), stderr: String(stderr) }),
    )

  test('the operator is told what is there, and whose is missing; who asks for that tenant alone, that it is away', async () => {
    const switched = [HERE, ALSO].map((tenant) => ({
      tenant,
      baseline: 'one',
      configured: 'route',
      switched: 'observe',
    }))
    expect(await get('/modes')).toEqual({ data: switched, missing })
    const refused = { deployment: 'up/one', refused: 'temperature' }
    const rows = [HERE, ALSO].map((tenant) => expect.objectContaining({ tenant, ...refused }))
    expect(await get('/refusals')).toEqual({ data: rows, missing })
    expect(await get('/usage?from=2020-01-01')).toMatchObject({ data: [{ tenant: HERE }, { tenant: ALSO }], missing })
    const status = await adminCall(gateway, '/status')
    expect(status.status).toBe(200)
    expect(await status.json()).toMatchObject({ missing })
    expect(await (await adminCall(gateway, '/refusals', { method: 'DELETE' })).json()).toEqual({
      forgotten: 2,
      missing,
    })
    for (const path of ['/refusals', '/usage']) {
      expect((await adminCall(gateway, `${path}?tenant=${GONE}`)).status).toBe(503)
      expect(await get(`${path}?tenant=${HERE}`)).not.toHaveProperty('missing')
    }
    const put = { method: 'PUT', body: { tenant: GONE, mode: 'assist' } }
    expect((await adminCall(gateway, '/modes', put)).status).toBe(503)
  })

  test('what must be whole is refused, and says whose part is away; one tenant’s is served', async () => {
    const to = join(gateway.dir, 'archive')
    const empty = join(gateway.dir, 'empty')
    await (await Archive.open(empty, { make: true })).close()
    const [all, one, archive, backup, usage, report] = await Promise.all([
      cli('export'),
      cli('export', '--tenant', ALSO as string),
      cli('archive', '--to', to),
      cli('backup', '--to', join(gateway.dir, 'backup')),
      cli('usage', '--from', '2020-01-01'),
      cli('report', '--archive', empty, '--tenant', HERE as string),
    ])
    expect(all.stderr).toContain(`the part of tenant '${GONE}'`)
    expect(one.stdout.trim().split('\n')).toHaveLength(4)
    expect(one.stderr).toBe('')
    expect(archive.stderr).toContain(`the part of tenant '${GONE}'`)
    expect(backup.stderr).toContain('Redis Cluster')
    expect(usage.stdout.split('\n').map((line) => line.split('\t')[0])).toEqual([HERE, ALSO, ''])
    expect(usage.stderr).toContain(`Missing: ${GONE}: `)
    expect(report.stdout).not.toBe('')
    expect(report.stderr).toBe(`${empty}: nothing is archived there.\n`)
    // Who was erased is not known of all.
    await expect(store.listErasures()).rejects.toThrow(/is away/)
  })

  test('another tenant is erased, and their idle users dropped, all the same', async () => {
    expect((await store.dropIdleUsers(HERE as string, 0, '')).next).toBe('')
    expect(await store.eraseTenant(HERE as string)).toBeGreaterThan(0)
    await expect(store.eraseTenant(GONE as string)).rejects.toThrow()
  })
})
