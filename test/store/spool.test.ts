import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Spool } from '../../src/store/spool.ts'

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
  spool.append('one\n')
  spool.append('two\n')
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

  spool.append('three\n')
  expect(spool.peek(100)).toMatchObject({ lines: ['three'], kind: 'own' })
  spool.close()
})
