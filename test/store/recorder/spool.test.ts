import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { markOfThisProcess } from '../../../src/runtime/process-mark.ts'
import { Spool } from '../../../src/store/recorder/spool.ts'
import { aZombie } from '../../support/zombie.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'persona-router-spool-'))
  vi.useFakeTimers({ toFake: ['performance'] })
})
afterEach(() => {
  vi.useRealTimers()
  rmSync(dir, { recursive: true, force: true })
})

const onDisk = () =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('')

test('tidied up, a spool at rest holds nothing that was delivered more than some seconds ago', () => {
  const spool = new Spool({ path: dir, maxBytes: 1e6 })
  spool.append(['one\n'])
  spool.append(['two\n'])
  spool.advance(4)
  vi.advanceTimersByTime(10_000)
  spool.tidy()
  expect(onDisk(), 'two is not delivered').toContain('two')

  spool.advance(4)
  spool.tidy()
  expect(onDisk(), 'a store that dies now may have forgotten it').toContain('two')
  vi.advanceTimersByTime(10_000)
  spool.tidy()
  expect(onDisk()).not.toMatch(/one|two/)

  spool.append(['three\n'])
  expect(spool.peek(100)).toMatchObject({ lines: ['three'], kind: 'own' })
  spool.close()
})

test('of lines that do not fit together, those that fit are kept, and bytes are counted as they lie there', () => {
  const lines = ['a', 'b', 'c', 'd'].map((letter) => `${letter.repeat(3_000)}\n`)
  const spool = new Spool({ path: dir, maxBytes: 10_000 })
  expect(spool.append(lines)).toEqual([3_001, 3_001, 3_001, 0])
  expect(spool.append(['e\n'])).toEqual([2])
  expect(onDisk()).toContain([...lines.slice(0, 3), 'e\n'].join(''))
  expect(spool.pendingBytes).toBe(9_005)
  const long = `${'ü'.repeat(50_000)}\n`
  const wide = new Spool({ path: dir, maxBytes: 1e6 })
  expect(wide.append(['x\n', long, 'y\n'])).toEqual([2, 100_001, 2])
  expect(wide.peek(1e6)).toMatchObject({ lines: ['x', long.trimEnd(), 'y'] })
  spool.close()
  wide.close()
})

/** What a process that died here leaves: its folder, under a name that is nobody's. */
function die(as: string): void {
  const [folder] = readdirSync(dir).filter((name) => !name.startsWith('dead-'))
  const left = join(dir, `dead-${as}`)
  renameSync(join(dir, folder!), left)
  writeFileSync(join(left, 'owner.json'), JSON.stringify({ host: hostname(), pid: 0x7fffffff, startedAt: '' }))
}

/** Delivers all that is there, and counts it. */
function deliver(spool: Spool): Record<string, number> {
  const counts: Record<string, number> = { own: 0, adopted: 0, again: 0 }
  for (let batch = spool.peek(1e5); batch; batch = spool.peek(1e5)) {
    counts[batch.kind]! += batch.lines.length
    spool.advance(batch.bytes)
  }
  return counts
}

test.skipIf(process.platform !== 'linux')(
  'what a process has left that was killed and that nobody waits for is taken over at once',
  async () => {
    const first = new Spool({ path: dir, maxBytes: 1e6 })
    first.append(['one\n'])
    die('first')
    const { mark, bury } = await aZombie()
    const second = new Spool({ path: dir, maxBytes: 1e6 })
    const owner = join(dir, 'dead-first', 'owner.json')
    // Alive, or in another container of the host's name, for all that can be seen from here.
    for (const other of [
      { ...mark, namespace: 'pid:[1]' },
      { ...markOfThisProcess(), pid: process.ppid, startedAt: '' },
    ]) {
      writeFileSync(owner, JSON.stringify(other))
      second.adopt()
      expect(deliver(second)).toEqual({ own: 0, adopted: 0, again: 0 })
    }
    writeFileSync(owner, JSON.stringify(mark))
    second.adopt()
    expect(deliver(second)).toEqual({ own: 0, adopted: 1, again: 0 })
    second.close()
    bury()
  },
)

test('a folder whose owner is not all written is left alone for a minute: it may be of a process that starts', () => {
  const first = new Spool({ path: dir, maxBytes: 1e6 })
  first.append(['one\n'])
  die('first')
  const owner = join(dir, 'dead-first', 'owner.json')
  writeFileSync(owner, '')
  const second = new Spool({ path: dir, maxBytes: 1e6 })
  second.adopt()
  expect(deliver(second)).toEqual({ own: 0, adopted: 0, again: 0 })
  utimesSync(owner, 1, 1)
  second.adopt()
  expect(deliver(second)).toEqual({ own: 0, adopted: 1, again: 0 })
  second.close()
})

describe('processes that die one after the other', () => {
  const LINE = `${'x'.repeat(99_999)}\n`

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance', 'Date'] })
  })

  test('deliver what is in the spool once more at most, and do not hand it down for ever', () => {
    const counts: Record<string, number>[] = []
    for (let life = 0; life < 8; life++) {
      const spool = new Spool({ path: dir, maxBytes: 1e9 })
      spool.adopt()
      const adopted = deliver(spool)
      for (let line = 0; line < 40; line++) spool.append([LINE])
      deliver(spool)
      counts.push(adopted)
      vi.advanceTimersByTime(2_000)
      die(String(life))
    }
    // Of a life's four segments the last was being written: nothing on the disk tells how much of it was delivered.
    for (const { adopted } of counts.slice(1)) expect(adopted).toBeLessThanOrEqual(11)
    // What was delivered in the last five seconds, which are three lives.
    for (const { again } of counts.slice(1)) expect(again).toBeLessThanOrEqual(3 * 40)
    expect(counts.at(-1)!.again).toBeGreaterThan(0)
    expect(onDisk().length).toBeLessThan(5 * 40 * LINE.length)
  })

  test('count what they had delivered as no burden of the spool, and what they had not as one', () => {
    const first = new Spool({ path: dir, maxBytes: 1e9 })
    for (let line = 0; line < 25; line++) first.append([LINE])
    first.advance(11 * LINE.length)
    die('first')
    const second = new Spool({ path: dir, maxBytes: 1e9 })
    expect(second.adopt()).toBe(true)
    expect(second.pendingBytes).toBe(14 * LINE.length)
    expect(deliver(second)).toEqual({ own: 0, adopted: 14, again: 11 })
    expect(second.pendingBytes).toBe(0)
    second.close()
  })
})
