import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { prepareStatements } from '../../../src/store/sqlite/statements.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { CHANGES_MS, prepareSweep, SLICE } from '../../../src/store/sqlite/sweep.ts'
import { StoreError } from '../../../src/store/store.ts'
import { storeContract } from '../../contracts/store.ts'
import { until } from '../../support/redis.ts'
import { all, anEdge, anInteraction, aReward, aUser } from '../records.ts'

const DAY_MS = 86_400_000

storeContract('SQLite', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-sqlite-'))
  return {
    open: async () => new SqliteStore({ kind: 'sqlite', path: join(dir, 'new', 'store.db'), retention_days: 36_500 }),
    discard: async () => rmSync(dir, { recursive: true }),
  }
})

describe('SQLite', () => {
  let dir: string
  const open = (retention_days = 30) => new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days })
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-sqlite-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  test('drops what is older than the retention, however much, and prompt text when its own time is over', async () => {
    const now = Date.now()
    const before = open()
    const old = Array.from({ length: 1_500 }, () => anInteraction({ ts: now - 31 * DAY_MS }))
    const recent = anInteraction({ ts: now - 29 * DAY_MS, text: 'kept', textExpiresAt: now + DAY_MS })
    const fading = anInteraction({ ts: now, text: 'gone', textExpiresAt: now + 1 })
    await before.appendInteractions([...old, recent, fading])
    await before.appendRewards([aReward({ ts: now - 31 * DAY_MS }), aReward({ ts: now, value: 0.5 })])
    await before.close()
    // A store sweeps soon after it is opened, and then once a minute.
    const store = open()
    await until(async () => (await all(store.readInteractions({}))).length === 2)
    await until(async () => (await all(store.readRewards({}))).length === 1)
    expect((await all(store.readInteractions({}))).map(({ text }) => text)).toEqual(['kept', null])
    await store.close()
  })

  test('rows of a user who got another id have it when they are read, backed up and dropped', async () => {
    const store = open()
    const row = anInteraction({ user: 'old', completionId: 'chatcmpl-1' })
    const reward = aReward({ user: 'old', interaction: row.id })
    await store.appendInteractions([row])
    await store.appendRewards([reward])
    expect(await store.moveUser('acme', 'old', 'new')).toBe(true)
    const both = async () => [
      ...(await all(store.readInteractions({}))),
      ...(await all(store.readInteractions({ tenant: 'acme', user: 'new' }))),
      ...(await all(store.readRewards({}))),
      ...(await all(store.readRewards({ tenant: 'acme', user: 'new' }))),
    ]
    expect((await both()).map(({ user }) => user)).toEqual(['new', 'new', 'new', 'new'])
    expect(await store.findInteraction('acme', row.id)).toMatchObject({ user: 'new' })
    const kept: string[] = []
    for await (const { rows } of store.backup.read('')) {
      for (const one of rows) if (one.type === 'interaction' || one.type === 'reward') kept.push(one.record.user)
    }
    expect(kept).toEqual(['new', 'new'])
    await store.dropRewards(await all(store.readRewards({})))
    await store.dropInteractions(await all(store.readInteractions({})))
    expect(await both()).toEqual([])
    await store.close()
  })

  test('others get their turn while a user of thousands of rows is read or erased', async () => {
    const store = open()
    const rows = Array.from({ length: 2_000 }, () => anInteraction({ user: 'large' }))
    await store.appendInteractions(rows)
    for (const row of rows.slice(0, 600)) {
      const turn = { candidate: 'c', interaction: row.id, lastUserHash: '', vector: null, messages: 1, promptTokens: 1 }
      void store.saveConversation('acme', `c-${row.id}`, { ...turn, user: 'large', ts: row.ts }, 60)
    }
    const turnsDuring = async (work: Promise<unknown>) => {
      let [turns, isOver] = [0, false]
      const count = () => {
        turns++
        if (!isOver) setImmediate(count)
      }
      setImmediate(count)
      await work.finally(() => {
        isOver = true
      })
      return turns
    }
    expect(await turnsDuring(all(store.readInteractions({ tenant: 'acme', user: 'large' })))).toBeGreaterThan(30)
    expect(await turnsDuring(store.eraseUser('acme', 'large'))).toBeGreaterThan(10)
    expect(await store.eraseUser('acme', 'large')).toBe(0)
    await store.close()
  })

  test('sweeps a slice of each table at a time, until nothing is left', async () => {
    const store = open()
    const now = Date.now()
    const count = 2 * SLICE + 1
    const rows = Array.from({ length: count }, () => anInteraction({ ts: now - 1, text: 'Hi', textExpiresAt: now - 1 }))
    await store.appendInteractions(rows)
    await store.appendRewards(rows.map(({ id }) => aReward({ interaction: id, ts: now - 1 })))
    await store.close()
    const db = new DatabaseSync(join(dir, 'store.db'))
    const fill = (sql: string) => {
      const statement = db.prepare(sql)
      for (let i = 0; i < count; i++) statement.run(`x-${i}`)
    }
    fill("INSERT INTO open_interactions (tenant, id, user, ts, state) VALUES ('t', ?, 'u', 1, '')")
    fill("INSERT INTO conversations VALUES ('t', ?, 'u', '', 1)")
    fill("INSERT INTO erasures VALUES ('t', ?, 1)")
    fill("INSERT INTO refusals VALUES ('t', 'd', ?, 1)")
    fill("INSERT INTO counters VALUES ('t', ?, 1, 1)")
    fill("INSERT INTO reservations VALUES ('t', ?, 'settled', 1, 1, '[]')")
    fill("INSERT INTO idempotency VALUES ('t', ?, 'u', '', '', NULL, 1)")
    const tables = ['interactions', 'rewards', 'open_interactions', 'conversations', 'erasures', 'refusals', 'counters']
    const left = () =>
      [...tables, 'reservations', 'idempotency'].map((table) =>
        Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n),
      )
    const sweep = prepareSweep(db)
    for (const rest of [count - SLICE, count - 2 * SLICE, 0]) {
      expect(sweep(1, now + DAY_MS)).toBe(rest > 0)
      expect(left()).toEqual(Array(9).fill(rest))
    }
    db.close()
  })

  test('leaves no byte of an erased user in the file, once other processes had the time to notice', async () => {
    const store = open()
    const secret = 'MARKER-OF-THE-ERASED-USER'
    const row = anInteraction({ user: secret, text: `my ${secret}`, conversation: secret })
    await store.appendInteractions([row])
    await store.commitUser('acme', secret, aUser({ preferences: { secret } }), [anEdge({ candidate: secret })])
    await store.eraseUser('acme', secret)
    // The write-ahead log has a head and a page at most; what tells other processes of the erasure goes a little later.
    const log = readFileSync(join(dir, 'store.db-wal'))
    expect(log.length).toBeLessThan(8_192)
    expect(log.includes(secret)).toBe(false)
    await store.close()
    const db = new DatabaseSync(join(dir, 'store.db'))
    db.exec('PRAGMA secure_delete = ON')
    prepareSweep(db)(30 * DAY_MS, Date.now() + CHANGES_MS + 1)
    db.close()
    for (const file of readdirSync(dir)) expect(readFileSync(join(dir, file)).includes(secret)).toBe(false)
  })

  test('what was erased goes from the log once another reader has gone, also where no thread can be had', async () => {
    const store = open()
    await store.commitUser('acme', 'ana', aUser(), [anEdge()])
    const threads = vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(() => {
      throw new Error('no thread')
    })
    const reader = new DatabaseSync(join(dir, 'store.db'))
    reader.exec('BEGIN')
    reader.prepare('SELECT count(*) FROM users').get()
    await store.eraseUser('acme', 'ana')
    const size = () => statSync(join(dir, 'store.db-wal')).size
    expect(size()).toBeGreaterThan(0)
    reader.close()
    await until(async () => size() === 0)
    expect(threads).toHaveBeenCalledTimes(1)
    threads.mockRestore()
    await store.close()
  })

  test('does not open the file of a newer version, and says so', async () => {
    await open().close()
    const db = new DatabaseSync(join(dir, 'store.db'))
    db.exec('PRAGMA user_version = 999')
    db.close()
    expect(() => open()).toThrow(/newer version/)
  })

  test('says which file can not be opened', () => {
    writeFileSync(join(dir, 'store.db'), 'this is not a database, it only has its name'.repeat(100))
    expect(() => open()).toThrow(StoreError)
    expect(() => open()).toThrow(/store\.db/)
  })

  test('looks nothing up by reading a whole table', async () => {
    await open().close()
    const db = new DatabaseSync(join(dir, 'store.db'))
    const plans: string[] = []
    const spy = new Proxy(db, {
      get: (target, name) =>
        name === 'prepare'
          ? (sql: string) => {
              const parameters = [...sql.matchAll(/\?/g)].length
              if (/^\s*(SELECT|DELETE|UPDATE)/.test(sql)) {
                const steps = target.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...Array(parameters).fill(1))
                for (const { detail } of steps) plans.push(`${detail} <- ${sql.trim()}`)
              }
              return target.prepare(sql)
            }
          : Reflect.get(target, name),
    })
    prepareStatements(spy)
    db.close()
    const scans = plans.filter(
      (plan) => /^SCAN/.test(plan) && !/CONSTANT ROW|^SCAN (keys|erasures|changes|blocks)\b/.test(plan),
    )
    expect(plans.length).toBeGreaterThan(20)
    expect(scans).toEqual([])
  })
})
