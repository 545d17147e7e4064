import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { errorFields } from '../../src/observability/error-fields.ts'
import { UpstreamError } from '../../src/providers/provider.ts'
import { StoreError } from '../../src/store/store.ts'

const SECRET = 'a-prompt-that-is-for-no-log'

const thrownBy = (mistake: () => unknown): unknown => {
  try {
    mistake()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

it('has kind, message, code, place and causes', () => {
  const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', errno: -104 })
  const fields = errorFields(new TypeError('no answer', { cause: reset }))
  expect(fields).toMatchObject({
    type: 'TypeError',
    message: 'no answer',
    cause: { type: 'Error', message: 'read ECONNRESET', code: 'ECONNRESET' },
  })
  expect(fields.stack).toMatch(/^ {4}at .*error-fields\.test\.ts:\d+/)
})

it.each<[string, unknown]>([
  ['text that is no JSON', thrownBy(() => JSON.parse(`{"messages": ${SECRET}`))],
  ['text of several lines that is no JSON', thrownBy(() => JSON.parse(`{\n    at ${SECRET}`))],
  ['what is no number', thrownBy(() => BigInt(SECRET))],
  ['arguments of a command', Object.assign(new Error('ERR'), { command: { name: 'set', args: [SECRET] } })],
  ['bytes of a broken reply', Object.assign(new Error('Parse Error'), { code: 'HPE_INVALID', data: SECRET })],
  ['what was thrown and is no error', SECRET],
  ['the same, as a cause', new Error('broken', { cause: { body: SECRET } })],
  ['the same, deeper', new Error('broken', { cause: thrownBy(() => JSON.parse(SECRET)) })],
])('leaves out %s', (_, error) => {
  expect(JSON.stringify(errorFields(error))).not.toContain(SECRET)
})

it('ends where causes go in a circle', () => {
  const error = new Error('round')
  error.cause = error
  expect(JSON.stringify(errorFields(error)).length).toBeLessThan(20_000)
})

it('what is told in words has no stack, what caused it has its own', () => {
  const cause = new TypeError('a bug')
  for (const error of [new StoreError('Redis is away', { cause }), new UpstreamError('connect', 'away', cause)]) {
    const fields = errorFields(error)
    expect(fields.stack).toBeUndefined()
    expect(fields.cause?.stack).toMatch(/error-fields\.test\.ts/)
  }
})

it.each([
  ['../src/a.ts', /src\/a\.ts:1:1\)$/],
  ['http://[', /bundle\.js:1:1\)$/],
])('has the place that a map names, if it names one: %s', (source, place) => {
  const dir = mkdtempSync(join(tmpdir(), 'persona-router-'))
  try {
    const map = { version: 3, sources: [source], names: [], mappings: 'AAAA' }
    writeFileSync(join(dir, 'bundle.js.map'), JSON.stringify(map))
    const error = new Error('a bug')
    error.stack = `Error: a bug\n    at f (${pathToFileURL(join(dir, 'bundle.js'))}:1:1)`
    expect(errorFields(error).stack).toMatch(place)
  } finally {
    rmSync(dir, { recursive: true })
  }
})
