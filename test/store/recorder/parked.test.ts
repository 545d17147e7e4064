import fs, { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Parked } from '../../../src/store/recorder/parked.ts'
import { ParkedLines } from '../../../src/store/recorder/parked-lines.ts'
import { StoreError } from '../../../src/store/store.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-parked-'))
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(dir, { recursive: true, force: true })
})

const NOTHING = { place: () => null, away: () => undefined, back: () => undefined }
const KEEP_MS = 5_000
const LINES = Array.from({ length: 2_000 }, (_, i) => `${i} ${'x'.repeat(1_000)}`)

test.each([3, 4, 5, 6])(
  'a store that dies after %i batches, and again after one, is given what it lost',
  async (first) => {
    const has = new Map<string, number>()
    let room = 0
    const parked = new Parked({
      ...{ dir, maxBytes: 1e9, keepMs: KEEP_MS },
      deliver: async ({ lines }) => {
        if (room-- === 0) throw new StoreError('away')
        vi.advanceTimersByTime(KEEP_MS / 2)
        for (const line of lines) has.set(line, performance.now())
      },
      ...NOTHING,
    })
    parked.begin('acme', [], new StoreError('away'))
    parked.add([['acme', LINES]])
    for (const batches of [first, 1]) {
      room = batches
      await parked.flush()
      for (const [line, at] of has) if (at > performance.now() - KEEP_MS) has.delete(line)
      vi.advanceTimersByTime(10 * KEEP_MS)
    }
    room = Number.POSITIVE_INFINITY
    await parked.flush()
    expect(LINES.filter((line) => !has.has(line)).length).toBe(0)
    expect([parked.has('acme'), parked.pendingBytes]).toEqual([false, 0])
    await parked.close()
  },
)

test('one that comes and goes keeps to its bound on the disk, and loses nothing that was never taken', async () => {
  const maxBytes = 1_000_000
  let isAway = false
  const got = new Map<string, number>()
  const parked = new Parked({
    ...{ dir, maxBytes, keepMs: KEEP_MS, ...NOTHING },
    deliver: async ({ lines }) => {
      if (isAway) throw new StoreError('away')
      for (const line of lines) got.set(line, (got.get(line) ?? 0) + 1)
    },
  })
  const bytes = () => readdirSync(dir).reduce((sum, file) => sum + statSync(join(dir, file)).size, 0)
  let fit = 0
  for (let flap = 0; flap < 100; flap++) {
    const name = (i: number) => `${flap} ${i} ${'x'.repeat(1_000)}`
    const sent = Array.from({ length: 100 }, (_, i) => name(i))
    const fresh = Array.from({ length: 100 }, (_, i) => name(100 + i))
    parked.begin('acme', sent, new StoreError('away'))
    fit += parked.add([['acme', fresh]])
    expect(bytes()).toBeLessThanOrEqual(maxBytes)
    isAway = true
    await parked.flush()
    isAway = false
    await parked.flush()
    expect(fresh.every((line) => got.has(line))).toBe(true)
    vi.advanceTimersByTime(20)
  }
  expect(fit).toBe(10_000)
  expect(parked.pendingBytes).toBe(0)
  // What it may have lost is told again, but not all that it ever had.
  expect(Math.max(...got.values())).toBeGreaterThan(1)
  expect(Math.max(...got.values())).toBeLessThan(12)
  // Nor does what was taken long ago stay.
  vi.advanceTimersByTime(2 * KEEP_MS)
  parked.begin('acme', [], new StoreError('away'))
  parked.add([['acme', ['last']]])
  await parked.flush()
  vi.advanceTimersByTime(2 * KEEP_MS)
  parked.tidy()
  expect(readdirSync(dir)).toEqual([])
  await parked.close()
})

test('what was delivered gives way to what was not; what has no room is refused, not half written', async () => {
  let room = 0
  const got: string[] = []
  const parked = new Parked({
    ...{ dir, maxBytes: 1_000_000, keepMs: KEEP_MS, ...NOTHING },
    deliver: async ({ lines }) => {
      if (room-- <= 0) throw new StoreError('away')
      got.push(...lines)
    },
  })
  parked.begin('acme', LINES, new StoreError('away'))
  // Of what was delivered before, the newest.
  room = 1e9
  await parked.flush()
  expect(got.at(-1)).toBe(LINES.at(-1))
  expect(got.length).toBeLessThan(1_000)
  expect(got).toEqual(LINES.slice(-got.length))
  parked.begin('acme', [], new StoreError('away'))
  room = 0
  const fit = parked.add([['acme', LINES]])
  expect(fit).toBeGreaterThan(900)
  expect(parked.add([['acme', LINES]])).toBe(0)
  parked.begin('other', LINES, new StoreError('away'))
  expect(parked.add([['other', LINES]])).toBe(0)
  got.length = 0
  room = 1e9
  await parked.flush()
  expect(got).toEqual(LINES.slice(0, fit))
  await parked.close()
})

test('where the disk refuses half-way, nothing was put aside: what comes again is there once', async () => {
  const got: string[] = []
  const parked = new Parked({
    ...{ dir, maxBytes: 1e9, keepMs: KEEP_MS, ...NOTHING },
    deliver: async ({ lines }) => void got.push(...lines),
  })
  for (const tenant of ['acme', 'bell']) parked.begin(tenant, [], new StoreError('away'))
  // The second tenant's file can't be made, and then not the next one's of the first.
  const next = (file: number) => join(dir, `${String(file).padStart(6, '0')}.ndjson`)
  mkdirSync(next(2))
  const lines = ['1', '2', '3']
  const all = ['acme', 'bell'].map((tenant) => [tenant, lines.map((line) => `${tenant} ${line}`)] as const)
  expect(() => parked.add(all)).toThrow(/EISDIR/)
  expect(parked.pendingBytes).toBe(0)
  expect(parked.add(all)).toBe(6)
  await parked.flush()
  expect(got.toSorted()).toEqual(all.flatMap(([, theirs]) => theirs))
  await parked.close()
})

test('what the disk neither takes whole nor cuts off is not read, nor written behind', () => {
  let files = 0
  const lines = new ParkedLines({ fileBytes: 1e6, keepMs: KEEP_MS, nextPath: () => join(dir, `${++files}.ndjson`) })
  lines.append(['first', 'second'], true)
  const refused = () => {
    throw Object.assign(new Error('no'), { code: 'EIO' })
  }
  const { writeSync } = fs
  const half = vi.spyOn(fs, 'writeSync').mockImplementationOnce(((fd: number, bytes: Buffer) => {
    writeSync(fd, bytes, 0, 3)
    refused()
  }) as never)
  const cut = vi.spyOn(fs, 'truncateSync').mockImplementationOnce(refused as never)
  syncBuiltinESMExports()
  try {
    expect(() => lines.append(['third'], true)).toThrow('no')
    expect([half, cut].map((spy) => spy.mock.calls.length)).toEqual([1, 1])
  } finally {
    vi.restoreAllMocks()
    syncBuiltinESMExports()
  }
  lines.append(['third', 'fourth'], true)
  const read: string[] = []
  for (let batch = lines.next(1e6); batch; batch = lines.next(1e6)) {
    read.push(...batch.lines)
    lines.advance(batch.end)
  }
  expect(read).toEqual(['first', 'second', 'third', 'fourth'])
  expect(lines.pendingBytes).toBe(0)
})

test('of what the store may have lost the newest find room', async () => {
  const got: string[] = []
  const parked = new Parked({
    ...{ dir, maxBytes: 5_500, keepMs: KEEP_MS, ...NOTHING },
    deliver: async ({ lines }) => void got.push(...lines),
  })
  const newest = Array.from({ length: 10 }, (_, i) => `${i} ${'x'.repeat(100)}`)
  parked.begin('acme', ['y'.repeat(5_000), 'z'.repeat(5_000), ...newest], new StoreError('away'))
  await parked.flush()
  expect(got).toEqual(newest)
  await parked.close()
})

test('from where on a tenant’s lines went by themselves is known as long as the store may lose what it took', async () => {
  const parked = new Parked({
    ...{ dir, maxBytes: 1e6, keepMs: KEEP_MS, ...NOTHING },
    place: () => 7,
    deliver: async () => {},
  })
  parked.begin('acme', ['one'], new StoreError('away'))
  await parked.flush()
  parked.tidy()
  expect(parked.since('acme')).toBe(7)
  vi.advanceTimersByTime(KEEP_MS + 1)
  parked.tidy()
  expect(parked.since('acme')).toBeNull()
  await parked.close()
})
