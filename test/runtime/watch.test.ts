import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { watchFiles } from '../../src/runtime/watch.ts'
import { eventually } from '../support/eventually.ts'

const NEVER_MS = 1e9

let directory: string
let stop: () => void
let changes = 0

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'watch-'))
  changes = 0
})
afterEach(() => {
  stop()
  rmSync(directory, { recursive: true })
})

const path = (...parts: string[]) => join(directory, ...parts)
const follow = (...files: string[]) => {
  stop = watchFiles(
    () => files,
    () => changes++,
    NEVER_MS,
  )
}
const swapLink = (target: string, link: string) => {
  symlinkSync(target, `${link}.next`)
  renameSync(`${link}.next`, link)
}
/** What `change` does is seen, by an event: there is no poll. */
async function sees(change: () => void) {
  const before = changes
  change()
  await eventually(() => changes > before, 'the change')
}

it('sees a file written, replaced and gone, and no file beside it', async () => {
  writeFileSync(path('a'), 'one')
  follow(path('a'))
  await sees(() => writeFileSync(path('a'), 'two, longer'))
  writeFileSync(path('a.next'), 'three')
  await sees(() => renameSync(path('a.next'), path('a')))
  await sees(() => rmSync(path('a')))
  await sees(() => writeFileSync(path('a'), 'four'))
  const before = changes
  writeFileSync(path('b'), 'beside')
  await sleep(1_000)
  expect(changes).toBe(before)
})

it('sees a link swapped in the directory, as Kubernetes does', async () => {
  for (const version of ['1', '2']) {
    mkdirSync(path(version))
    writeFileSync(path(version, 'config'), version)
  }
  symlinkSync('1', path('..data'))
  symlinkSync('..data/config', path('config'))
  follow(path('config'))
  await sees(() => swapLink('2', path('..data')))
})

it('sees the directory itself swapped, and then a change in the new one', async () => {
  for (const version of ['1', '2']) {
    mkdirSync(path(version))
    writeFileSync(path(version, 'manifest.json'), version)
  }
  symlinkSync('1', path('current'))
  follow(path('current', 'manifest.json'))
  await sees(() => swapLink('2', path('current')))
  await sees(() => writeFileSync(path('2', 'manifest.json'), 'another'))
})

it('sees fewer changes than there are writes, and none once it is stopped', async () => {
  writeFileSync(path('a'), '')
  follow(path('a'))
  for (let i = 0; i < 100; i++) {
    writeFileSync(path('a'), 'x'.repeat(i + 1))
    await sleep(10)
  }
  await eventually(() => changes > 0, 'a change')
  stop()
  const before = changes
  expect(before).toBeLessThan(50)
  writeFileSync(path('a'), 'after')
  await sleep(1_000)
  expect(changes).toBe(before)
})
