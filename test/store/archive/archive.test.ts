import { execFile } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { withFormerIds } from '../../../src/candidates/former-ids.ts'
import { makeReport } from '../../../src/learning/report.ts'
import { Archive, type ArchiveFile } from '../../../src/store/archive/archive.ts'
import { COLUMNS, documentOf, rowOf } from '../../../src/store/archive/columns.ts'
import { eraseRows } from '../../../src/store/archive/erase.ts'
import { moveRows, withArchive } from '../../../src/store/archive/move.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import { exportRecords } from '../../../src/store/records/export.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import type { Store } from '../../../src/store/store.ts'
import { type BucketServer, startBucketServer, stubBucketEnv } from '../../support/bucket.ts'
import { aZombie } from '../../support/zombie.ts'
import { all, anInteraction, aReward, aUser, NO_CANDIDATES } from '../records.ts'

const DAY_MS = 86_400_000
/** 2026-11-28 00:00 UTC */
const TODAY = Date.UTC(2026, 10, 28)
const MOVER = fileURLToPath(new URL('./move-until-killed.ts', import.meta.url))
const MARKER = 'user-canary-5e1d'

let dir: string
let store: SqliteStore
let archive: Archive
const openStore = () => new SqliteStore({ kind: 'sqlite', path: join(dir, 'store.db'), retention_days: 36_500 })
let server: BucketServer
beforeAll(async () => {
  server = await startBucketServer()
})
afterAll(() => server.stop())

/** Where an archive may lie. */
const PLACES = {
  'a directory': () => join(dir, 'archive'),
  'a bucket': () => 's3://logs/of/router',
  'a bucket that keeps versions': () => 's3://kept',
}
let place: string

async function setUp(where: keyof typeof PLACES): Promise<void> {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-archive-'))
  stubBucketEnv(server.origin)
  if (where !== 'a directory') {
    await server.empty()
    await server.s3.createBucket({ Bucket: 'logs' })
    await server.s3.createBucket({ Bucket: 'kept' })
    await server.s3.putBucketVersioning({ Bucket: 'kept', VersioningConfiguration: { Status: 'Enabled' } })
  }
  store = openStore()
  place = PLACES[where]()
  archive = await Archive.open(place, { make: true })
}

async function tearDown(): Promise<void> {
  await archive.close()
  await store.close()
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true, force: true })
}

/** Interactions of two tenants over some days, each with a reward a day later. */
async function fill(count = 60, perDay = 10): Promise<{ rows: InteractionRecord[] }> {
  const rows = Array.from({ length: count }, (_, i) =>
    anInteraction({
      tenant: i % 3 === 0 ? 'bell' : 'acme',
      user: i % 10 === 7 ? MARKER : `u-${i % 7}`,
      ts: TODAY - (count - i) * (DAY_MS / perDay),
      baselineUsd: i % 2 === 0 ? 0.1 : null,
      gain: null,
    }),
  )
  await store.appendInteractions(rows)
  await store.appendRewards(
    rows.map(({ id, tenant, user, ts }) => aReward({ interaction: id, tenant, user, ts: ts + DAY_MS, askedAt: ts })),
  )
  return { rows }
}

async function exportOf(log: Pick<Store, 'readInteractions' | 'readRewards'>, filter = {}): Promise<string[]> {
  const lines: string[] = []
  await exportRecords(log, filter, (chunk) => void lines.push(...chunk.split('\n').filter(Boolean)))
  return lines.sort()
}

/** Of an archive in a directory. */
const files = () => readdirSync(join(dir, 'archive'), { recursive: true, encoding: 'utf8' }).sort()

/** All that lies there, also what a bucket keeps of earlier versions. */
async function everything(): Promise<Map<string, Buffer>> {
  if (place.startsWith('s3:')) return server.contents(place.slice('s3://'.length).split('/')[0] as string)
  const paths = files().filter((name) => statSync(join(place, name)).isFile())
  return new Map(paths.map((name) => [name, readFileSync(join(place, name))]))
}

describe.each(Object.keys(PLACES) as (keyof typeof PLACES)[])('%s', { timeout: 180_000 }, (where) => {
  beforeEach(() => setUp(where))
  afterEach(tearDown)

  describe('a file', () => {
    test('gives every field of a record back', async () => {
      const whole = anInteraction({
        shadow: { policy: 'next', candidates: NO_CANDIDATES },
        gain: { baseline: 'b', policy: 'p', group: 'new', weight: 1, least: 0.5, largest: 2 },
        embedding: { sealed: 'AAAA' },
        arm: 'holdout',
        baselineUsd: 0.1,
        key: 'key-1',
        vouched: true,
        ttftMs: null,
        conversation: null,
        user: 'Zoë}:{ü 🦉\n',
      })
      const rows = [whole, anInteraction({ ts: whole.ts, baselineUsd: null })]
      await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, rows)
      expect(await all(archive.read('interaction', {}))).toEqual(rows)
      const rewards = [
        aReward({ comment: 'fine', preferredModel: 'x', askedAt: 7, value: -0.25, binary: false }),
        aReward({ kind: 'judge' }),
      ]
      await archive.add('reward', { tenant: 'acme', day: '2026-11-28' }, rewards)
      expect(await all(archive.read('reward', {}))).toEqual(rewards)
    })

    test('takes halves of characters, which UTF-8 does not have, for unknown ones', async () => {
      const row = anInteraction({ finishReason: 'a\ud83d', chosen: '\udc00b', baselineUsd: null })
      await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, [row])
      expect(await all(archive.read('interaction', {}))).toEqual([
        { ...row, finishReason: 'a\ufffd', chosen: '\ufffdb' },
      ])
      const reward = aReward({ comment: 'so\ud800 good' })
      await archive.add('reward', { tenant: 'acme', day: '2026-11-28' }, [reward])
      expect(await all(archive.read('reward', {}))).toEqual([{ ...reward, comment: 'so\ufffd good' }])
    })

    test('leaves prompts out, which go earlier than their rows', async () => {
      const row = anInteraction({ baselineUsd: null, text: 'canary prompt', textExpiresAt: Date.now() + DAY_MS })
      await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, [row])
      const { text: _, textExpiresAt: __, ...rest } = row
      expect(await all(archive.read('interaction', {}))).toEqual([{ ...rest, text: null }])
      expect(COLUMNS.interaction.map(({ name }) => name)).not.toContain('text')
    })

    test('of another version, with fewer fields, is read', async () => {
      const { key: _, ...old } = documentOf('interaction', anInteraction({ key: 'k' }))
      expect(rowOf('interaction', old)).not.toHaveProperty('key')
    })

    test('that is broken is named', async () => {
      await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, [anInteraction()])
      const [path = '', bytes = Buffer.alloc(0)] =
        [...(await everything())].find(([name]) => /parquet$/.test(name)) ?? []
      await overwrite(path, bytes.subarray(0, 200))
      await expect(all(archive.read('interaction', {}))).rejects.toThrow(`${path} can't be read: `)
      await overwrite(path, Buffer.from('PAR1'))
      await expect(all(archive.read('interaction', {}))).rejects.toMatchObject({ name: 'ArchiveError' })
    })
  })

  describe.skipIf(where === 'a bucket that keeps versions')('moving rows', () => {
    test('takes out of the store what is old, and loses nothing', async () => {
      await fill()
      const before = await exportOf(store)
      const cut = TODAY - 2 * DAY_MS
      const moved = await moveRows(store, archive, { before: cut, rows: 7 })
      expect(moved).toEqual({ interactions: 40, rewards: 30 })
      expect((await all(store.readInteractions({}))).every(({ ts }) => ts >= cut)).toBe(true)
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
      // Partitioned as other readers know it.
      expect((await listed(archive.files('interaction')))[0]?.path).toMatch(
        /^tenant=acme\/day=2026-11-\d\d\/interactions-\d{15}-[\w-]{8}\.parquet$/,
      )
      expect(await moveRows(store, archive, { before: cut, rows: 7 })).toEqual({ interactions: 0, rewards: 0 })
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
    })

    test('of one tenant, and read by tenant, user and time', async () => {
      const { rows } = await fill()
      await moveRows(store, archive, { before: TODAY, tenant: 'acme' })
      expect(await archive.tenants()).toEqual(['acme'])
      const log = withArchive(store, archive)
      const filter = { tenant: 'acme', user: MARKER, since: TODAY - 4 * DAY_MS, until: TODAY - DAY_MS }
      const wanted = rows.filter(
        ({ tenant, user, ts }) => tenant === 'acme' && user === MARKER && ts >= filter.since && ts <= filter.until,
      )
      expect(wanted.length).toBeGreaterThan(0)
      expect((await all(log.readInteractions(filter))).map(({ id }) => id).sort()).toEqual(
        wanted.map(({ id }) => id).sort(),
      )
    })

    test('what was used stays counted', async () => {
      await fill()
      const used = () => store.usage.read('acme', { scope: 'tenant', from: '2026-11-01', to: '2026-11-30' })
      const before = await used()
      expect(before.length).toBeGreaterThan(0)
      await moveRows(store, archive, { before: TODAY })
      expect(await used()).toEqual(before)
    })

    test('what comes late a second time is archived once', async () => {
      const { rows } = await fill()
      await moveRows(store, archive, { before: TODAY })
      const before = await exportOf(withArchive(store, archive))
      await store.appendInteractions(rows.slice(0, 9))
      // Until the next run it is in both.
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
      await moveRows(store, archive, { before: TODAY })
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
    })

    test.each(
      [
        ['written', '0'],
        ['written', '3'],
        ['dropping', '0'],
        ['dropping', '2'],
        ['writing', '2'],
      ].slice(where === 'a directory' ? 0 : -2),
    )('killed while %s (file %s), and run again: nothing is lost, nothing doubled', async (where, first) => {
      await fill(400, 100)
      const before = await exportOf(store)
      await store.close()
      await archive.close()
      const run = (at: string) =>
        promisify(execFile)(process.execPath, [MOVER, ...[join(dir, 'store.db'), place, at, first]])
      await expect(run(where)).rejects.toMatchObject({ signal: 'SIGKILL' })
      // The dead process has left its lock.
      expect([...(await everything()).keys()].some((name) => name.endsWith('archive.lock'))).toBe(true)
      store = openStore()
      archive = await Archive.open(place)
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
      await archive.close()
      await store.close()
      await run('nowhere')
      store = openStore()
      archive = await Archive.open(place)
      expect(await exportOf(withArchive(store, archive))).toEqual(before)
      expect(await all(store.readInteractions({ until: TODAY - DAY_MS - 1 }))).toEqual([])
      expect([...(await everything()).keys()].filter((name) => name.endsWith('.part'))).toEqual([])
      if (where === 'a bucket') expect(await server.unfinished('logs')).toEqual([])
      expect(await all(archive.read('interaction', {}))).toHaveLength(400)
    })
  })

  describe('erasing', () => {
    const holds = async (text: string) => {
      const kept = [...(await all(archive.read('interaction', {}))), ...(await all(archive.read('reward', {})))]
      return JSON.stringify(kept).includes(text)
    }

    test('who was erased in the store is erased in the archive, and nobody else', async () => {
      const { rows } = await fill()
      await moveRows(store, archive, { before: TODAY })
      expect(await holds(MARKER)).toBe(true)
      const before = await exportOf(archiveOnly())
      await store.eraseUser('acme', MARKER)
      const gone = await eraseRows(store, archive)
      const theirs = rows.filter(({ tenant, user }) => tenant === 'acme' && user === MARKER)
      expect(gone).toBeGreaterThanOrEqual(theirs.length)
      const after = await exportOf(archiveOnly())
      expect(after).toEqual(
        before.filter((line) => {
          const { tenant, user } = JSON.parse(line)
          return !(tenant === 'acme' && user === MARKER)
        }),
      )
      // The other tenant's user of that name stays.
      await store.eraseUser('bell', MARKER)
      await eraseRows(store, archive)
      expect(await holds(MARKER)).toBe(false)
      for (const name of (await everything()).keys()) expect(name).not.toContain(MARKER)
      expect(await eraseRows(store, archive)).toBe(0)
    })

    test('who has another id by now is erased under the one of the archived rows, too', async () => {
      await fill()
      await moveRows(store, archive, { before: TODAY, tenant: 'acme' })
      expect(await holds(MARKER)).toBe(true)
      await store.eraseUser('acme', 'present')
      await eraseRows(store, archive)
      expect(await holds(MARKER)).toBe(true)
      await withFormerIds(store, { former: () => [MARKER] }).eraseUser('acme', 'present')
      await eraseRows(store, archive)
      expect(await holds(MARKER)).toBe(false)
    })

    test('who has got another id since is one user, and is erased without the former secret', async () => {
      const { rows } = await fill()
      const theirs = rows.filter(({ tenant, user }) => tenant === 'acme' && user === MARKER)
      await moveRows(store, archive, { before: TODAY, tenant: 'acme' })
      await store.commitUser('acme', MARKER, aUser())
      await store.moveUser('acme', MARKER, 'between')
      await archive.takeMoves(store.listMoves())
      await archive.saveMoves()
      const ids = async () => (await all(archive.read('interaction', { tenant: 'acme', user: 'present' }))).length
      expect(await ids()).toBe(0)
      // The archive knows of the first move alone, and learns of the second.
      await archive.close()
      archive = await Archive.open(place)
      await archive.takeMoves([[{ tenant: 'acme', from: 'between', to: 'present' }]])
      expect(await ids()).toBe(theirs.length)
      expect(await holds(MARKER)).toBe(false)
      await withFormerIds(store, { former: () => [] }).eraseUser('acme', 'present')
      expect(await eraseRows(store, archive)).toBeGreaterThanOrEqual(theirs.length)
      expect(await ids()).toBe(0)
      expect([...(await everything())].filter(([, bytes]) => bytes.includes(MARKER)).map(([name]) => name)).toEqual([])
    })

    test('a tenant that was erased leaves no file', async () => {
      await fill()
      await moveRows(store, archive, { before: TODAY })
      await store.eraseTenant('bell')
      expect(await eraseRows(store, archive)).toBeGreaterThan(0)
      expect(await listed(archive.files('interaction', { tenant: 'bell' }))).toEqual([])
      expect(await listed(archive.files('reward', { tenant: 'bell' }))).toEqual([])
      expect([...(await everything()).keys()].filter((name) => name.includes('bell'))).toEqual([])
      expect((await listed(archive.files('interaction', { tenant: 'acme' }))).length).toBeGreaterThan(0)
    })

    test('what they do after it is kept', async () => {
      await fill()
      await store.eraseUser('acme', MARKER)
      const later = anInteraction({ tenant: 'acme', user: MARKER, ts: Date.now() + 1_000 })
      await store.appendInteractions([later])
      await moveRows(store, archive, { before: Number.MAX_SAFE_INTEGER })
      await eraseRows(store, archive)
      expect((await all(archive.read('interaction', { user: MARKER, tenant: 'acme' }))).map(({ id }) => id)).toEqual([
        later.id,
      ])
    })

    test('days that are too old are dropped', async () => {
      await fill()
      await moveRows(store, archive, { before: TODAY })
      expect(await archive.dropBefore('2026-11-25')).toBeGreaterThan(0)
      expect((await listed(archive.files('interaction'))).every(({ day }) => day >= '2026-11-25')).toBe(true)
    })
  })
})

async function listed(files: AsyncIterable<ArchiveFile>): Promise<ArchiveFile[]> {
  const found: ArchiveFile[] = []
  for await (const file of files) found.push(file)
  return found
}

/** Writes over a file of the archive. */
async function overwrite(path: string, bytes: Buffer): Promise<void> {
  if (place.startsWith('s3:')) await server.s3.putObject({ Bucket: place.split('/')[2], Key: path, Body: bytes })
  else writeFileSync(join(place, path), bytes)
}

const archiveOnly = () => ({
  readInteractions: (filter: object) => archive.read('interaction', filter),
  readRewards: (filter: object) => archive.read('reward', filter),
})

describe('a directory', () => {
  beforeEach(() => setUp('a directory'))
  afterEach(tearDown)

  const at = (...names: string[]) => join(dir, 'archive', ...names)

  test('keeps what other programs have in it, whatever it is called', async () => {
    await archive.add('interaction', { tenant: 'acme', day: '2026-11-28' }, [anInteraction()])
    const day = ['tenant=acme', 'day=2026-11-28']
    mkdirSync(at('photos', ...day), { recursive: true })
    const others = [
      at('download.part'),
      at('photos', 'interactions-1.parquet.part'),
      at('photos', ...day, 'rewards-1.parquet.part'),
      at(...day, 'film.part'),
      at(...day, 'interactions-1.csv.part'),
      at('tenant=acme', 'interactions-1.parquet.part'),
    ]
    const own = [at(...day, 'interactions-1.parquet.part'), at(...day, 'rewards-2.parquet.part')]
    for (const file of [...others, ...own]) writeFileSync(file, 'half')
    await archive.tidy()
    expect(others.filter((file) => !existsSync(file))).toEqual([])
    expect(own.filter((file) => existsSync(file))).toEqual([])
  })

  test('a report of it is that of the store before, by the fields alone that it looks at', async () => {
    await fill()
    const asked = { tenant: 'acme', since: 0, until: TODAY + DAY_MS }
    const before = await makeReport(store, asked)
    await moveRows(store, archive, { before: TODAY })
    expect(await makeReport(withArchive(store, archive), asked)).toEqual(before)
    expect(before.total.ratings).toBeGreaterThan(30)
    const filter = { tenant: 'acme', fields: ['id', 'costUsd', 'candidates', 'usage'] as const }
    const [some] = await all(archive.read('interaction', filter))
    expect(Object.keys(some ?? {}).sort()).toEqual(['candidates', 'costUsd', 'id', 'usage'])
    const [whole] = await all(archive.read('interaction', { tenant: 'acme' }))
    expect(whole).toMatchObject(some ?? {})
  })

  test('shows no row of who was erased, from then on, though the files still hold them', async () => {
    await fill()
    await moveRows(store, archive, { before: TODAY })
    const asked = { tenant: 'acme' }
    const before = await all(archive.read('interaction', asked))
    const [someone] = before.map(({ user }) => user) as [string]
    await store.eraseUser('acme', someone)
    const again = anInteraction({ tenant: 'acme', user: someone, ts: Date.now() + DAY_MS })
    await archive.add('interaction', { tenant: 'acme', day: new Date(again.ts).toISOString().slice(0, 10) }, [again])
    archive.leaveOut(await store.listErasures('acme'))
    const left = before.filter(({ user }) => user !== someone)
    expect(left.length).toBeLessThan(before.length)
    const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id).sort()
    expect(ids(await all(archive.read('interaction', asked)))).toEqual(ids([...left, again]))
    const of = (await all(archive.read('reward', { ...asked, fields: ['user', 'value'] }))).map(({ user }) => user)
    expect(of.length).toBeGreaterThan(0)
    expect(of).not.toContain(someone)
    expect(await eraseRows(store, archive)).toBeGreaterThan(0)
    expect(ids(await all(archive.read('interaction', asked)))).toEqual(ids([...left, again]))
  })

  test('has few files of tenants whose rows come mixed', async () => {
    const rows = Array.from({ length: 120 }, (_, i) =>
      anInteraction({ tenant: `t-${i % 6}`, ts: TODAY - DAY_MS + i * 1_000 }),
    )
    await store.appendInteractions(rows)
    expect(await moveRows(store, archive, { before: TODAY, rows: 10 })).toEqual({ interactions: 120, rewards: 0 })
    expect(files().filter((name) => name.endsWith('.parquet')).length).toBeLessThanOrEqual(18)
    expect((await all(archive.read('interaction', {}))).map(({ id }) => id).sort()).toEqual(
      rows.map(({ id }) => id).sort(),
    )
  })

  test('of somebody else is refused, and one with nothing in it is not', async () => {
    const other = join(dir, 'home')
    mkdirSync(join(other, 'lost+found'), { recursive: true })
    writeFileSync(join(other, '.snapshot'), '')
    await (await Archive.open(other, { make: true })).close()
    writeFileSync(join(other, 'letter.txt'), 'Dear Ann')
    for (const make of [true, false]) {
      await expect(Archive.open(other, { make })).rejects.toThrow(
        `${other} is not empty, and is no archive: letter.txt is there`,
      )
    }
    expect(readdirSync(other).sort()).toEqual(['.snapshot', 'letter.txt', 'lost+found'])
  })

  test('that another process has taken over is written no more, and its lock stays', async () => {
    await fill()
    await moveRows(store, archive, { before: TODAY - DAY_MS })
    await store.eraseUser('acme', MARKER)
    const before = files().filter((name) => name.endsWith('.parquet'))
    const lock = at('archive.lock')
    const other = JSON.stringify({ host: 'elsewhere', pid: 1, token: 'theirs' })
    for (const taken of [other, null]) {
      if (taken === null) rmSync(lock)
      else writeFileSync(lock, taken)
      const lost = { name: 'ArchiveError', message: expect.stringContaining('no longer this process’s') }
      await expect(moveRows(store, archive, { before: TODAY })).rejects.toMatchObject(lost)
      await expect(eraseRows(store, archive)).rejects.toMatchObject(lost)
      await expect(archive.saveErasures({})).rejects.toThrow('no longer this process’s')
      await expect(archive.tidy()).rejects.toThrow('no longer this process’s')
      await expect(archive.dropBefore('2030-01-01')).rejects.toThrow('no longer this process’s')
      expect(files().filter((name) => name.endsWith('.parquet'))).toEqual(before)
      expect(files()).not.toContain('erasures.json')
      expect(existsSync(lock) && readFileSync(lock, 'utf8')).toBe(taken ?? false)
    }
    expect((await all(store.readInteractions({ since: TODAY - DAY_MS }))).length).toBeGreaterThan(0)
    writeFileSync(lock, other)
    await archive.close()
    expect(readFileSync(lock, 'utf8')).toBe(other)
  })

  test('what was erased before, half written, is erased again and told', async () => {
    await fill()
    await moveRows(store, archive, { before: TODAY })
    await store.eraseUser('acme', MARKER)
    expect(await eraseRows(store, archive)).toBeGreaterThan(0)
    const file = join(dir, 'archive', 'erasures.json')
    const whole = readFileSync(file, 'utf8')
    const problems: string[] = []
    for (const broken of [whole.slice(0, -4), '', '[1]', '{"acme x":"never"}']) {
      writeFileSync(file, broken)
      expect(await eraseRows(store, archive, (problem) => problems.push(problem))).toBe(0)
      expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(whole))
    }
    expect(problems).toHaveLength(4)
    for (const problem of problems) expect(problem).toContain(`${file} can't be read`)
    expect(files()).not.toContain('erasures.json.part')
  })

  test('one process at a time', async () => {
    await expect(Archive.open(join(dir, 'archive'))).rejects.toThrow('another process is at work on this archive')
    await expect(Archive.open(join(dir, 'none'))).rejects.toThrow('there is no archive')
    // Of a container that was killed: another host, as far as one can tell.
    const lock = join(dir, 'other', 'archive.lock')
    mkdirSync(join(dir, 'other'))
    writeFileSync(lock, JSON.stringify({ host: 'elsewhere', pid: 1 }))
    await expect(Archive.open(join(dir, 'other'))).rejects.toThrow('another process')
    const longAgo = new Date(Date.now() - 120_000)
    utimesSync(lock, longAgo, longAgo)
    await (await Archive.open(join(dir, 'other'))).close()
    expect(existsSync(lock)).toBe(false)
  })

  test.skipIf(process.platform !== 'linux')('the lock of one that was killed a moment ago is taken over', async () => {
    // Nobody has waited for it.
    const { mark, bury } = await aZombie()
    const lock = join(dir, 'killed', 'archive.lock')
    mkdirSync(join(dir, 'killed'))
    writeFileSync(lock, JSON.stringify({ ...mark, token: 'theirs' }))
    await (await Archive.open(join(dir, 'killed'))).close()
    expect(existsSync(lock)).toBe(false)
    bury()
  })
})
