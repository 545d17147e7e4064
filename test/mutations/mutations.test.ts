import { existsSync, readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { mutated, placeOf, Scratch, testFile } from './lane.ts'
import { MUTATIONS, SHORT } from './mutations.ts'

describe('the list of mistakes', () => {
  test('has about a hundred, each of which can still be made, and names tests that exist', () => {
    expect(MUTATIONS.length).toBeGreaterThan(90)
    const stale = MUTATIONS.flatMap((mutation) => {
      try {
        mutated(mutation)
        return []
      } catch (error) {
        return [(error as Error).message]
      }
    })
    expect(stale).toEqual([])
    const tests = new Set(MUTATIONS.flatMap((mutation) => mutation.tests))
    expect([...tests].filter((name) => !existsSync(testFile(name)))).toEqual([])
    expect(MUTATIONS.filter(({ rule }) => rule.length < 10)).toEqual([])
    expect(new Set(MUTATIONS.map(({ file, find, replace }) => `${file}\n${find}\n${replace}`)).size).toBe(
      MUTATIONS.length,
    )
  })
})

test('the lines that the fault matrix names are among them', () => {
  const matrix = readFileSync(new URL('../faults/README.md', import.meta.url), 'utf8')
  const rows = matrix.split('## The line that would break it')[1] ?? ''
  const named = [...rows.matchAll(/^\| (.+) \| `([^`]+)` \| `([^`]+)` \|$/gm)]
  expect(named.length).toBeGreaterThan(20)
  const unknown = named.filter(
    ([, , file, line = '']) => !MUTATIONS.some((one) => one.file === file && one.find.includes(line)),
  )
  expect(unknown.map(([row]) => row)).toEqual([])
})

describe('a few of them', () => {
  const scratch = new Scratch()
  afterAll(() => scratch.remove())

  test.each(SHORT.map((mutation) => [placeOf(mutation), mutation] as const))(
    '%s: is noticed, and nothing fails without it',
    async (_, mutation) => {
      expect(await scratch.verdict(mutation)).toBe('killed')
      for (const name of mutation.tests) expect(await scratch.passes(name)).toBe(true)
    },
    120_000,
  )
})
