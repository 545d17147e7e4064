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
import { all } from '../store/records.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'

const WRITER = fileURLToPath(new URL('./record-until-killed.ts', import.meta.url))
const ROUNDS = 6

describe('kill -9 of a process that records', () => {
  let dir: string
  let spool: { path: string; max_bytes: number; flush_ms: number }
  let server: RedisServer | undefined
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
  async function killed(store: StoreConfig, after: number): Promise<string[]> {
    const child = spawn(process.execPath, [WRITER, JSON.stringify({ store, spool })], {
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
    const rows = await all(store.readInteractions({}))
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
    server = await startRedis()
    await loseNothing({ kind: 'redis', url: server.url, command_timeout_ms: 2_000, retention_days: 90 })
  })

  test('with Redis dead as well: what waited is delivered by a later process, after several deaths', async () => {
    server = await startRedis()
    const config: StoreConfig = { kind: 'redis', url: server.url, command_timeout_ms: 250, retention_days: 90 }
    await server.kill()
    const acknowledged: string[] = []
    for (let round = 0; round < 3; round++) acknowledged.push(...(await killed(config, 50)))
    await server.start()
    const stored = await recovered(config)
    expect(new Set(stored).size).toBe(stored.length)
    expect(stored).toEqual(expect.arrayContaining(acknowledged))
  })
})
