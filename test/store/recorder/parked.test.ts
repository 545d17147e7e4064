import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Parked } from '../../../src/store/recorder/parked.ts'
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
      away: () => undefined,
      back: () => undefined,
    })
    parked.begin('acme', [], new StoreError('away'))
    parked.add('acme', LINES)
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
    parked.close()
  },
)
