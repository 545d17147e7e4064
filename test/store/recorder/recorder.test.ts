import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Recorder } from '../../../src/store/recorder/recorder.ts'
import { interactionLine } from '../../../src/store/records/codec.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { type InteractionSummary, type Store, StoreError } from '../../../src/store/store.ts'
import { withOverrides } from '../../learning/support.ts'
import { until } from '../../support/redis.ts'
import { all, anInteraction, aReward, NO_CANDIDATES } from '../records.ts'

/** What the store is told to do wrong. */
interface Fault {
  away: boolean
  /** The row that can't be stored. */
  bad: string | null
}

const withFault = (store: Store, fault: Fault): Store =>
  withOverrides(store, {
    appendInteractions: (rows) => {
      if (fault.away) return Promise.reject(new StoreError('away'))
      if (rows.some(({ id }) => id === fault.bad)) return Promise.reject(new TypeError('a row that cannot be stored'))
      return store.appendInteractions(rows)
    },
    appendRewards: (rows) => (fault.away ? Promise.reject(new StoreError('away')) : store.appendRewards(rows)),
  })

describe('Recorder', () => {
  let dir: string
  let store: Store
  let fault: Fault
  const recorders: Recorder[] = []
  const open = (overrides: { max_bytes?: number } = {}, events = {}) => {
    const recorder = new Recorder(
      store,
      { path: join(dir, 'spool'), max_bytes: 1e8, flush_ms: 5, ...overrides },
      events,
    )
    recorders.push(recorder)
    return recorder
  }
  const ids = async () => (await all(store.readInteractions({}))).map(({ id }) => id)
  const segments = () =>
    readdirSync(join(dir, 'spool'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ndjson'))

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'persona-router-recorder-'))
    fault = { away: false, bad: null }
    store = withFault(new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 36_500 }), fault)
  })
  afterEach(async () => {
    for (const recorder of recorders.splice(0)) await recorder.close()
    await store.close()
    rmSync(dir, { recursive: true })
  })

  test('delivers by itself, in order, and leaves no file behind', async () => {
    const recorder = open()
    const rows = Array.from({ length: 700 }, (_, i) => anInteraction({ ts: 1e12 + i }))
    for (const row of rows) recorder.interaction(row)
    const reward = aReward({ interaction: rows[0]!.id })
    recorder.reward(reward)
    await until(() => recorder.status().queued === 0)
    expect(await all(store.readInteractions({}))).toEqual(rows)
    expect(await all(store.readRewards({}))).toEqual([reward])
    expect(recorder.status()).toMatchObject({ queued: 0, spooledBytes: 0, dropped: 0, delivered: 701, away: null })
    await recorder.close()
    expect(readdirSync(join(dir, 'spool'))).toEqual([])
  })

  test('what comes while it closes is written down for the next process', async () => {
    const recorder = open()
    const [early, late] = [anInteraction(), anInteraction()]
    void recorder.interaction(early)
    const flush = recorder.flush.bind(recorder)
    vi.spyOn(recorder, 'flush').mockImplementation(async () => {
      const flushed = await flush()
      void recorder.interaction(late)
      return flushed
    })
    await recorder.close()
    expect(recorder.status().dropped).toBe(0)
    const next = open()
    await until(async () => (await ids()).length === 2)
    expect(await ids()).toEqual([early.id, late.id])
    await next.close()
  })

  test('finds what the store does not have yet, until it does, within its tenant only', async () => {
    fault.away = true
    const recorder = open()
    const row = anInteraction({ tenant: 'acme' })
    const summary: InteractionSummary = {
      id: row.id,
      tenant: 'acme',
      user: row.user,
      conversation: null,
      candidate: 'candidate-1',
      reading: null,
      reader: '',
      vector: null,
      promptTokens: 1,
      completionTokens: -1,
      costUsd: 0,
      ts: row.ts,
      ended: false,
    }
    recorder.open(summary)
    expect(await recorder.findInteraction('acme', row.id)).toEqual(summary)
    const named = async (tenant: string, id: string) =>
      (await recorder.findCompletions(tenant, id)).map(({ interaction }) => interaction)
    recorder.nameCompletion('acme', row.id, row.completionId!)
    recorder.nameCompletion('acme', row.id, 'another-chunk')
    expect(await named('acme', row.completionId!)).toEqual([row.id])
    recorder.interaction(row)
    expect(await recorder.findInteraction('acme', row.id)).toMatchObject({ ended: true, costUsd: row.costUsd })
    expect(await recorder.findInteraction('other', row.id)).toBeNull()
    expect(await named('acme', row.completionId!)).toEqual([row.id])
    expect(await named('other', row.completionId!)).toEqual([])
    recorder.forget('acme', 'somebody else')
    expect(await recorder.findInteraction('acme', row.id)).not.toBeNull()
    recorder.forget('acme', row.user)
    expect(await recorder.findInteraction('acme', row.id)).toBeNull()
    expect(await named('acme', row.completionId!)).toEqual([])
    fault.away = false
    expect(await recorder.flush()).toBe(true)
    expect(await recorder.findInteraction('acme', row.id)).toMatchObject({ id: row.id, ended: true })
    expect(await named('acme', row.completionId!)).toEqual([row.id])
  })

  test('tells other processes of answers on their way', async () => {
    const recorder = open()
    const { id, user, ts } = anInteraction()
    recorder.open({
      ...{ id, user, ts, tenant: 'acme', conversation: null, candidate: 'c', reading: null, reader: '', vector: null },
      ...{ promptTokens: 1, completionTokens: -1, costUsd: 0, ended: false },
    })
    await until(async () => (await store.findInteraction('acme', id)) !== null)
    expect(await store.findInteraction('acme', id)).toMatchObject({ ended: false, user })
  })

  test('waits on disk while the store is away, more than it keeps in memory, and says so', async () => {
    const seen: string[] = []
    fault.away = true
    const recorder = open({}, { away: () => seen.push('away'), back: () => seen.push('back') })
    const rows = Array.from({ length: 5_000 }, (_, i) => anInteraction({ ts: 1e12 + i, candidates: NO_CANDIDATES }))
    for (const row of rows) recorder.interaction(row)
    expect(await recorder.flush()).toBe(false)
    expect(recorder.status()).toMatchObject({ queued: 5_000, dropped: 0, delivered: 0, away: 'away' })
    fault.away = false
    const late = anInteraction({ ts: 2e12 })
    recorder.interaction(late)
    await until(() => recorder.status().queued === 0)
    expect(await ids()).toEqual([...rows, late].map(({ id }) => id))
    expect(seen).toEqual(['away', 'back'])
  })

  test('counts what it drops when the spool is full, and goes on afterwards', async () => {
    fault.away = true
    const drops: number[] = []
    const line = Buffer.byteLength(`${interactionLine(anInteraction())}\n`)
    const recorder = open({ max_bytes: 10 * line }, { dropped: (total: number) => drops.push(total) })
    const rows = Array.from({ length: 6_000 }, () => anInteraction())
    await Promise.all(rows.map((row) => recorder.interaction(row)))
    const { dropped, queued } = recorder.status()
    expect(dropped).toBeGreaterThan(0)
    expect(dropped + queued).toBe(6_000)
    expect(drops.at(-1)).toBe(dropped)
    fault.away = false
    expect(await recorder.flush()).toBe(true)
    recorder.interaction(anInteraction())
    expect(await recorder.flush()).toBe(true)
    expect(await ids()).toHaveLength(queued + 1)
    expect(recorder.status().dropped).toBe(dropped)
  })

  test('a full spool loses nothing while the store takes records', async () => {
    const recorder = open({ max_bytes: 1 })
    for (let i = 0; i < 100; i++) recorder.interaction(anInteraction())
    expect(await recorder.flush()).toBe(true)
    expect(await ids()).toHaveLength(100)
    expect(recorder.status()).toMatchObject({ dropped: 0, delivered: 100 })
  })

  test('sets aside a row that can never be stored, and delivers the others', async () => {
    const recorder = open()
    const rows = Array.from({ length: 5 }, () => anInteraction())
    fault.bad = rows[2]!.id
    for (const row of rows) recorder.interaction(row)
    expect(await recorder.flush()).toBe(true)
    expect(await ids()).toHaveLength(4)
    expect(recorder.status()).toMatchObject({ rejected: 1, queued: 0 })
    const [rejected] = segments().filter((name) => name.endsWith('rejected.ndjson'))
    expect(JSON.parse(readFileSync(join(dir, 'spool', rejected!), 'utf8'))).toMatchObject({ id: fault.bad })
    await recorder.close()
    expect(segments()).toEqual([rejected])
  })

  test('takes over what an earlier process left, a torn line included', async () => {
    const rows = Array.from({ length: 3 }, (_, i) => anInteraction({ ts: 1e12 + i }))
    const orphan = join(dir, 'spool', 'host-1-dead')
    mkdirSync(orphan, { recursive: true })
    writeFileSync(join(orphan, 'owner.json'), JSON.stringify({ host: 'gone.example', pid: 1, startedAt: '1' }))
    const { utimesSync } = await import('node:fs')
    utimesSync(join(orphan, 'owner.json'), 1, 1)
    const torn = interactionLine(anInteraction()).slice(0, 200)
    writeFileSync(join(orphan, '000001.ndjson'), `${interactionLine(rows[0]!)}\n`)
    writeFileSync(
      join(orphan, '000002.ndjson'),
      `not json\n${interactionLine(rows[1]!)}\n${interactionLine(rows[2]!)}\n`,
    )
    appendFileSync(join(orphan, '000002.ndjson'), torn)
    const recorder = open()
    const own = anInteraction({ ts: 2e12 })
    await recorder.interaction(own)
    await until(() => recorder.status().spooledBytes === 0 && recorder.status().queued === 0)
    expect(await ids()).toEqual([...rows, own].map(({ id }) => id))
    expect(recorder.status()).toMatchObject({ unreadable: 1, dropped: 0 })
    await recorder.close()
    expect(readdirSync(join(dir, 'spool'))).toEqual([])
  })

  test('leaves what it could not deliver to the next one, which leaves a living neighbour alone', async () => {
    fault.away = true
    const [first, neighbour] = [open(), open()]
    const rows = [anInteraction({ ts: 1 }), anInteraction({ ts: 2 })]
    first.interaction(rows[0]!)
    neighbour.interaction(rows[1]!)
    // It has looked for heirlooms, and does not again so soon: else it may be the heir.
    await neighbour.flush()
    await first.close()
    expect(segments()).toHaveLength(2)
    const heir = open()
    await until(() => heir.status().spooledBytes > 0)
    expect(neighbour.status().spooledBytes).toBe(heir.status().spooledBytes)
    fault.away = false
    await until(() => heir.status().spooledBytes === 0 && neighbour.status().queued === 0)
    expect((await ids()).sort()).toEqual(rows.map(({ id }) => id).sort())
  })

  test('keeps the spool to its owner', async () => {
    fault.away = true
    const recorder = open()
    recorder.interaction(anInteraction({ text: 'a prompt' }))
    const { statSync } = await import('node:fs')
    for (const name of readdirSync(join(dir, 'spool'), { recursive: true, encoding: 'utf8' })) {
      expect(statSync(join(dir, 'spool', name)).mode & 0o077).toBe(0)
    }
    expect(statSync(join(dir, 'store.db')).mode & 0o077).toBe(0)
  })

  describe('of a store whose parts may be away one by one', () => {
    /** Those whose part is away, or hangs; and all that was asked, by tenant. */
    let away: Set<string>
    let hangs: Set<string>
    let asked: Record<string, string[]>
    beforeEach(() => {
      ;[away, hangs, asked] = [new Set(), new Set(), {}]
      const whole = store
      const part =
        <T extends { tenant: string; id?: string; interaction?: string }>(append: (rows: T[]) => Promise<void>) =>
        async (rows: T[]): Promise<void> => {
          for (const { tenant, id, interaction } of rows) {
            const isLate = hangs.has(tenant)
            while (hangs.has(tenant)) await nextTurn()
            if (isLate || away.has(tenant)) throw new StoreError(`${tenant} is away`)
            asked[tenant] = [...(asked[tenant] ?? []), id ?? `of ${interaction}`]
          }
          await append(rows)
        }
      store = withOverrides(whole, {
        isDivided: true,
        appendInteractions: part((rows) => whole.appendInteractions(rows)),
        appendRewards: part((rows) => whole.appendRewards(rows)),
        openInteractions: part((rows) => whole.openInteractions(rows)),
      })
    })
    const some = (tenant: string, count: number, from = 1e12) =>
      Array.from({ length: count }, (_, i) => anInteraction({ tenant, ts: from + i }))
    const of = async (tenant: string) => (await all(store.readInteractions({ tenant }))).map(({ id }) => id)

    test("one tenant's is away: others' records go on, theirs wait and arrive in order, none lost, none doubled", async () => {
      const seen: string[] = []
      const recorder = open({}, { away: () => seen.push('away'), back: () => seen.push('back') })
      const early = some('gone', 3)
      for (const row of early) void recorder.interaction(row)
      expect(await recorder.flush()).toBe(true)
      asked = {}
      away.add('gone')
      const [gone, here] = [some('gone', 300, 2e12), some('here', 300, 2e12)]
      for (const [i, row] of gone.entries()) {
        void recorder.interaction(row)
        recorder.reward(aReward({ tenant: 'gone', interaction: row.id }))
        void recorder.interaction(here[i]!)
        recorder.reward(aReward({ tenant: 'here', interaction: here[i]!.id }))
      }
      expect(await recorder.flush('here')).toBe(true)
      expect(await recorder.flush()).toBe(false)
      expect(await of('here')).toEqual(here.map(({ id }) => id))
      expect(await all(store.readRewards({ tenant: 'here' }))).toHaveLength(300)
      expect(asked).not.toHaveProperty('gone')
      expect(recorder.status()).toMatchObject({ queued: 600, away: 'gone is away', dropped: 0 })
      expect(recorder.status().spooledBytes).toBeGreaterThan(0)

      away.clear()
      await until(() => recorder.status().away === null)
      expect(await of('gone')).toEqual([...early, ...gone].map(({ id }) => id))
      expect(await all(store.readRewards({ tenant: 'gone' }))).toHaveLength(300)
      // What it had taken before may have been lost with it.
      expect(asked.gone?.slice(0, 4)).toEqual([...early, gone[0]!].map(({ id }) => id))
      expect(asked.gone?.filter((row) => row.startsWith('of '))).toEqual(gone.map(({ id }) => `of ${id}`))
      expect(recorder.status()).toMatchObject({ queued: 0, spooledBytes: 0, delivered: 1_203 })
      expect(seen).toEqual(['away', 'back'])
      await recorder.close()
      expect(readdirSync(join(dir, 'spool'))).toEqual([])
    })

    test('who waits no more by the time that others have been sent loses nothing', async () => {
      away.add('gone')
      const recorder = open()
      const [first, second, slow] = [...some('gone', 2), ...some('slow', 1)]
      void recorder.interaction(first!)
      expect(await recorder.flush()).toBe(false)
      hangs.add('slow')
      void recorder.interaction(second!)
      void recorder.interaction(slow!)
      const flushed = recorder.flush()
      away.clear()
      await until(async () => (await of('gone')).length > 0)
      hangs.clear()
      await flushed
      await until(() => recorder.status().queued === 0)
      expect(await of('gone')).toEqual([first!.id, second!.id])
      expect(await of('slow')).toEqual([slow!.id])
      expect(recorder.status()).toMatchObject({ delivered: 3, spooledBytes: 0 })
    })

    test('what waits is the next process', async () => {
      away.add('gone')
      const recorder = open()
      const [gone, here] = [some('gone', 5), some('here', 5)]
      for (const row of [...gone, ...here]) void recorder.interaction(row)
      await recorder.close()
      expect(await of('here')).toHaveLength(5)
      const heir = open()
      await until(() => heir.status().away !== null)
      const late = some('gone', 1, 2e12)
      void heir.interaction(late[0]!)
      expect(await heir.flush()).toBe(false)
      away.clear()
      await until(() => heir.flush())
      expect(await of('gone')).toEqual([...gone, ...late].map(({ id }) => id))
      expect(heir.status()).toMatchObject({ queued: 0, spooledBytes: 0, delivered: 6 })
    })

    test('one that comes and goes loses nothing, and has each row once on the disk', async () => {
      const recorder = open()
      const rows = some('gone', 100)
      for (const [i, row] of rows.entries()) {
        // By turns sent by themselves, and parked.
        if (i % 2 === 1) away.add('gone')
        void recorder.interaction(row)
        expect(await recorder.flush()).toBe(i % 2 === 0)
        away.clear()
        expect(await recorder.flush()).toBe(true)
      }
      expect(await of('gone')).toEqual(rows.map(({ id }) => id))
      expect(recorder.status()).toMatchObject({ queued: 0, spooledBytes: 0, delivered: 100, dropped: 0 })
      const parked = readdirSync(join(dir, 'spool'), { recursive: true, encoding: 'utf8' }).filter((file) =>
        /parked\W.*ndjson$/.test(file),
      )
      const lines = parked.flatMap((file) =>
        readFileSync(join(dir, 'spool', file), 'utf8')
          .split('\n')
          .slice(0, -1),
      )
      expect(lines.length).toBe(100)
      expect(new Set(lines).size).toBe(100)
    })

    test('one that hangs, and one that waits for more than has room, hold up nobody', async () => {
      hangs.add('hangs')
      away.add('gone')
      const drops: number[] = []
      const size = Buffer.byteLength(`${interactionLine(some('gone', 1)[0]!)}\n`)
      const recorder = open({ max_bytes: 100 * size }, { dropped: (total: number) => drops.push(total) })
      const gone = some('gone', 95)
      const rest = [...some('hangs', 1), ...some('here', 10)]
      for (const row of rest) void recorder.interaction(row)
      for (const row of gone) {
        void recorder.interaction(row)
        await recorder.flush('here')
      }
      await until(async () => (await of('here')).length === 10)
      const { dropped, queued } = recorder.status()
      expect(dropped).toBeGreaterThan(5)
      expect(queued).toBe(96 - dropped)
      expect(drops.at(-1)).toBe(dropped)
      hangs.clear()
      away.clear()
      await until(async () => (await of('gone')).length === 95 - dropped)
    })
  })
})
