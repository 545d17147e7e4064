import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StoreConfig } from '../../src/config/schema.ts'
import { openStore } from '../../src/store/index.ts'
import { Recorder } from '../../src/store/recorder/recorder.ts'
import type { InteractionRecord } from '../../src/store/records/codec.ts'
import { all, anInteraction, aReward } from '../store/records.ts'
import { type RedisCluster, type RedisServer, startRedis, startRedisCluster, until } from '../support/redis.ts'

const WRITER = fileURLToPath(new URL('./record-until-killed.ts', import.meta.url))
const ROUNDS = 6

describe('kill -9 of a process that records', () => {
  let dir: string
  let spool: { path: string; max_bytes: number; flush_ms: number }
  let server: RedisServer | RedisCluster | undefined
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-crash-'))
    spool = { path: join(dir, 'spool'), max_bytes: 1e8, flush_ms: 5 }
  })
  afterEach(async () => {
    await server?.discard()
    server = undefined
    rmSync(dir, { recursive: true })
  })

  /** Lets a process record, kills it after so many records, and returns the ids that it was told are recorded. */
  async function killed(store: StoreConfig, after: number, tenants = ['acme', 'acme', 'acme']): Promise<string[]> {
    const child = spawn(process.execPath, [WRITER, JSON.stringify({ store, spool, tenants })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    const acknowledged: string[] = []
    for await (const id of createInterface({ input: child.stdout })) {
      acknowledged.push(id)
      if (acknowledged.length === after) child.kill('SIGKILL')
    }
    const [, signal] = await exited
    expect(signal).toBe('SIGKILL')
    return acknowledged
  }

  async function recovered(config: StoreConfig): Promise<string[]> {
    const store = await openStore(config)
    const recorder = new Recorder(store, spool)
    await until(() => recorder.flush())
    let rows: InteractionRecord[] = []
    // In a cluster, names of tenants may be back later than their rows.
    await until(() =>
      all(store.readInteractions({})).then(
        (found) => {
          rows = found
          return true
        },
        () => false,
      ),
    )
    await recorder.close()
    await store.close()
    expect(readdirSync(spool.path)).toEqual([])
    return rows.map(({ id }) => id)
  }

  async function loseNothing(config: StoreConfig): Promise<void> {
    const acknowledged: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      acknowledged.push(...(await killed(config, 1 + Math.floor(Math.random() * 400))))
      const stored = await recovered(config)
      expect(new Set(stored).size).toBe(stored.length)
      expect(stored).toEqual(expect.arrayContaining(acknowledged))
    }
  }

  test('SQLite: every acknowledged record is there, once', async () => {
    await loseNothing({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 90 })
  })

  test('Redis: every acknowledged record is there, once', async () => {
    const redis = await startRedis()
    server = redis
    await loseNothing({ kind: 'redis', url: redis.url, command_timeout_ms: 2_000, retention_days: 90 })
  })

  test('with Redis dead as well: what waited is delivered by a later process, after several deaths', async () => {
    const redis = await startRedis()
    server = redis
    const config: StoreConfig = { kind: 'redis', url: redis.url, command_timeout_ms: 250, retention_days: 90 }
    await redis.kill()
    const acknowledged: string[] = []
    for (let round = 0; round < 3; round++) acknowledged.push(...(await killed(config, 50)))
    await redis.start()
    const stored = await recovered(config)
    expect(new Set(stored).size).toBe(stored.length)
    expect(stored).toEqual(expect.arrayContaining(acknowledged))
  })

  test("with a shard of a cluster dead as well: others' records go on, those of its tenants arrive when it is back", async () => {
    const cluster = await startRedisCluster()
    server = cluster
    const config: StoreConfig = {
      ...{ kind: 'redis', cluster: cluster.addresses, command_timeout_ms: 250, retention_days: 90 },
    }
    const shardOf = async (name: string) => {
      const slot = Number(await cluster.masters[0]!.command('CLUSTER', 'KEYSLOT', name))
      return Math.floor((slot * cluster.masters.length) / 16_384)
    }
    // The worst of them: what all share lies there, the names of those who have a log.
    const dead = await shardOf('pr:tenants')
    const tenants = ['a', 'b', 'c', 'd', 'e', 'f']
    const shards = await Promise.all(tenants.map((tenant) => shardOf(`pr:{${tenant}}:`)))
    const here = tenants.filter((_, i) => shards[i] !== dead)
    expect([1, 2, 3, 4, 5]).toContain(here.length)

    const acknowledged = await killed(config, 60, tenants)
    await recovered(config)
    await cluster.masters[dead]!.kill()
    acknowledged.push(...(await killed(config, 60, tenants)))
    // Which node a process asks first is chance.
    for (let i = 0; i < 8; i++) {
      const fresh = await openStore(config)
      await until(() =>
        fresh.loadUser(here[0]!, 'u').then(
          () => true,
          () => false,
        ),
      )
      await fresh.close()
    }

    const store = await openStore(config)
    const recorder = new Recorder(store, spool)
    const own = tenants.map((tenant) => anInteraction({ tenant }))
    for (const row of own) {
      void recorder.interaction(row)
      recorder.reward(aReward({ tenant: row.tenant, interaction: row.id }))
    }
    for (const tenant of here) {
      await until(async () => {
        const rewards = await all(store.readRewards({ tenant })).catch(() => [])
        return rewards.length === 1
      })
      expect((await all(store.readInteractions({ tenant }))).at(-1)).toMatchObject({
        tenant,
        id: own[tenants.indexOf(tenant)]?.id,
      })
    }
    expect(recorder.status()).toMatchObject({ away: expect.any(String), dropped: 0 })
    await recorder.close()
    await store.close()

    await cluster.masters[dead]!.start()
    const stored = await recovered(config)
    expect(new Set(stored).size).toBe(stored.length)
    expect(stored).toEqual(expect.arrayContaining([...acknowledged, ...own.map(({ id }) => id)]))
  })
})
