import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { prepareSweep } from '../../../src/store/sqlite/sweep.ts'
import { storeContract } from '../../contracts/store.ts'
import { all, anInteraction, aReward } from '../records.ts'

const openAt = (path: string) => new SqliteStore({ kind: 'sqlite', path, retention_days: 36_500 })

const COLUMNS = {
  interactions: 'tenant, id, ts, user, completion_id, json, text, text_expires_at',
  rewards: 'tenant, interaction, user, kind, ts, json',
}
const LOG = Object.entries(COLUMNS)

/** Puts each row that comes to where a file of an earlier version has it. */
const TO_EARLIER = LOG.map(
  ([table, columns]) => `
    CREATE TRIGGER ${table}_of_before AFTER INSERT ON ${table} BEGIN
      INSERT INTO earlier_${table} (${columns}) SELECT ${columns} FROM ${table} WHERE seq = new.seq;
      DELETE FROM ${table} WHERE seq = new.seq;
    END;`,
)
/** Blocks have 65,536 rows. The next row gets the number after this one's. */
const BLOCK_EACH = LOG.map(
  ([table]) => `
    CREATE TRIGGER ${table}_apart AFTER INSERT ON ${table} BEGIN
      UPDATE ${table} SET seq = (new.seq / 65536 + 1) * 65536 + 7 WHERE seq = new.seq;
    END;`,
)

function execAt(path: string, sql: readonly string[]): void {
  const db = new DatabaseSync(path)
  for (const one of sql) db.exec(one)
  db.close()
}

for (const [name, triggers] of [
  ['SQLite, rows of an earlier version', TO_EARLIER],
  ['SQLite, each row in a block of its own', BLOCK_EACH],
] as const) {
  const start = async () => {
    const dir = mkdtempSync(join(tmpdir(), 'persona-router-sqlite-'))
    const path = join(dir, 'store.db')
    let isNew = true
    return {
      open: async () => {
        const store = openAt(path)
        if (isNew) execAt(path, triggers)
        isNew = false
        return store
      },
      discard: async () => rmSync(dir, { recursive: true }),
    }
  }
  storeContract(name, start, false)
}

describe('the log of SQLite, partly of an earlier version, partly in several blocks', () => {
  let dir: string
  let path: string
  let store: SqliteStore
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-sqlite-'))
    path = join(dir, 'store.db')
    store = openAt(path)
  })
  afterEach(async () => {
    await store.close()
    rmSync(dir, { recursive: true })
  })

  /** Of `ana`, in an order that is not that of their time; each half, by its time's, is where the other is not. */
  async function fillMixed(count = 60): Promise<number[]> {
    const times = Array.from({ length: count }, (_, i) => 1_000 + ((i * 37) % count))
    const rows = times.map((ts) => anInteraction({ id: `a-${ts}`, ts, user: 'ana', completionId: 'same' }))
    const others = times.map((ts) => anInteraction({ id: `b-${ts}`, ts, user: 'bob' }))
    execAt(path, TO_EARLIER)
    await store.appendInteractions([...rows, ...others].filter(({ ts }) => ts % 3 === 0))
    await store.appendRewards(rows.filter(({ ts }) => ts % 3 === 0).map(rewardOf))
    execAt(path, [...LOG.map(([table]) => `DROP TRIGGER ${table}_of_before`), ...BLOCK_EACH])
    await store.appendInteractions([...rows, ...others])
    await store.appendRewards(rows.map(rewardOf))
    return times.sort((a, b) => a - b)
  }
  const rewardOf = ({ id, ts }: { id: string; ts: number }) => aReward({ interaction: id, ts, user: 'ana' })
  const timesOf = (rows: readonly { ts: number }[]) => rows.map(({ ts }) => ts)

  test('rows come in the order of their time, once each: all, a user’s, and those of a time', async () => {
    const times = await fillMixed()
    const ana = { tenant: 'acme', user: 'ana' }
    expect(timesOf(await all(store.readInteractions(ana)))).toEqual(times)
    expect(timesOf(await all(store.readRewards(ana)))).toEqual(times)
    expect(timesOf(await all(store.readRewards({})))).toEqual(times)
    expect(timesOf(await all(store.readInteractions({ tenant: 'acme' })))).toEqual(times.flatMap((ts) => [ts, ts]))
    const [since, until] = [1_010, 1_030]
    const some = times.filter((ts) => ts >= since && ts <= until)
    expect(timesOf(await all(store.readInteractions({ ...ana, since, until })))).toEqual(some)
    expect(timesOf(await all(store.readRewards({ since, until })))).toEqual(some)
  })

  test('a row that is dropped, erased or moved is so wherever it lies', async () => {
    const times = await fillMixed()
    const left = (user: string) => all(store.readInteractions({ tenant: 'acme', user }))
    await store.dropInteractions((await left('ana')).slice(0, 30))
    expect(timesOf(await left('ana'))).toEqual(times.slice(30))
    expect(await store.moveUser('acme', 'ana', 'amy')).toBe(true)
    expect([timesOf(await left('amy')), await left('ana')]).toEqual([times.slice(30), []])
    expect(await store.eraseUser('acme', 'amy', 1_040)).toBeGreaterThan(0)
    expect(timesOf(await left('amy'))).toEqual(times.filter((ts) => ts > 1_040))
    expect(timesOf(await all(store.readRewards({})))).toEqual(times.filter((ts) => ts > 1_040))
    await store.eraseUser('acme', 'amy')
    expect(await all(store.readInteractions({}))).toHaveLength(60)
    expect(await store.eraseTenant('acme')).toBeGreaterThanOrEqual(60)
    expect(await all(store.readInteractions({}))).toEqual([])
  })

  test('a completion is found wherever its answer lies, the latest first', async () => {
    await fillMixed(9)
    const found = await store.findCompletions('acme', 'same')
    expect(found).toHaveLength(9)
    expect(new Set(found.map(({ interaction }) => interaction)).size).toBe(9)
    for (const { interaction } of found) expect(await store.findInteraction('acme', interaction)).not.toBeNull()
    const isEarlier = found.map(({ ts }) => ts % 3 === 0)
    expect(isEarlier).toEqual([...isEarlier].sort())
  })

  test('is backed up whole, also where a backup goes on that an earlier version began', async () => {
    await fillMixed()
    const read = async (from: string) => {
      const counts = { reward: 0, interaction: 0 }
      for await (const { rows } of store.backup.read(from)) {
        for (const { type } of rows) if (type === 'reward' || type === 'interaction') counts[type]++
      }
      return counts
    }
    expect(await read('')).toEqual({ reward: 60, interaction: 120 })
    // Places of before: the table's number, and the row's in it.
    expect(await read('[0,[15]]')).toEqual({ reward: 45, interaction: 120 })
    expect(await read('[1,[30]]')).toEqual({ reward: 0, interaction: 90 })
    expect(await read('[2,["acme","2026-11-29","tenant","",""]]')).toEqual({ reward: 0, interaction: 0 })
    const places = []
    for await (const { next } of store.backup.read('')) places.push(next)
    expect(places[0]).toBe('["earlier_rewards",[20]]')
    expect(await read(places[0] ?? '')).toEqual({ reward: 40, interaction: 120 })
  })

  test('is swept, texts included', async () => {
    execAt(path, TO_EARLIER)
    const [old, now] = [Date.now() - 36_600 * 86_400_000, Date.now()]
    await store.appendInteractions([
      anInteraction({ ts: old }),
      anInteraction({ ts: now, text: 'gone', textExpiresAt: now - 1 }),
    ])
    await store.appendRewards([aReward({ ts: old })])
    await store.close()
    const db = new DatabaseSync(path)
    prepareSweep(db)(36_500 * 86_400_000, now)
    expect(db.prepare('SELECT text FROM earlier_interactions').all()).toEqual([{ text: null }])
    expect(db.prepare('SELECT count(*) AS n FROM earlier_rewards').get()).toEqual({ n: 0 })
    db.close()
    store = openAt(path)
  })
})
