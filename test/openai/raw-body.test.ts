import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { refuseLookAlikes } from '../../src/openai/field-names.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import fc from '../support/properties.ts'

const refusal = (raw: Buffer): GatewayError => {
  try {
    parseRawBody(raw)
  } catch (error) {
    if (error instanceof GatewayError) return error
    throw error
  }
  throw new Error('accepted')
}

describe('spans', () => {
  /** Names that look like a known field are refused ("N" for "n"). */
  const accepted = (object: Record<string, unknown>) => {
    try {
      refuseLookAlikes(object)
      return true
    } catch {
      return false
    }
  }
  const objects = fc.dictionary(fc.string(), fc.jsonValue()).filter(accepted)

  it('name exactly the bytes of every top-level value', () => {
    fc.assert(
      fc.property(objects, fc.constantFrom(undefined, 1, '\t'), (object, indent) => {
        const raw = Buffer.from(JSON.stringify(object, null, indent))
        const { json, spans } = parseRawBody(raw)
        expect(JSON.stringify(json)).toBe(JSON.stringify(JSON.parse(raw.toString())))
        expect([...spans.keys()].sort()).toEqual(Object.keys(json).sort())
        for (const [key, { start, end }] of spans) {
          expect(JSON.stringify(JSON.parse(raw.toString('utf8', start, end)))).toBe(
            JSON.stringify(Object.getOwnPropertyDescriptor(json, key)?.value),
          )
        }
      }),
    )
  })

  it('know a key however it is escaped', () => {
    const { spans } = parseRawBody(Buffer.from('{"mod\\u0065l" : 1e400 }'))
    expect(spans.get('model')).toEqual({ start: 16, end: 21 })
  })
})

/**
 * What is hard to read character by character where a character is a byte: quotes, backslashes, bytes that look like
 * ASCII in another width.
 */
const hard = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '"',
      '\\',
      '\\"',
      '{',
      '}',
      ',',
      ':',
      '\u00e9',
      '\u0122',
      '\u225c',
      '\u00a0',
      '\u2028',
      '\ufeff',
      '\ud800',
      '🦙',
      'a',
    ),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  ),
  maxLength: 12,
})
const escaped = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
/** One text of many for a string: any of its characters may be escaped. A lone surrogate has to be, in UTF-8. */
const quoted = (text: string) =>
  fc.infiniteStream(fc.boolean()).map((escapes) => {
    const all = Array.from(text, (char) => {
      if (escapes.next().value)
        return Array.from({ length: char.length }, (_, i) => escaped(char[i] as string)).join('')
      return JSON.stringify(char).slice(1, -1)
    })
    return `"${all.join('')}"`
  })
const member = fc
  .tuple(fc.oneof(hard, fc.constantFrom('model', 'stream_options', '__proto__')), hard)
  .chain(([key, value]) => fc.tuple(fc.constant(key), quoted(key), quoted(value)))
const space = fc.string({ unit: fc.constantFrom(' ', '\n', '\r', '\t'), maxLength: 2 })

it('finds every value to the byte, whatever the characters and however they are escaped; a key twice is a 400', () => {
  fc.assert(
    fc.property(
      fc.array(member, { maxLength: 6 }),
      fc.array(space, { minLength: 4, maxLength: 4 }),
      (members, spaces) => {
        const [a, b, c, d] = spaces as [string, string, string, string]
        const raw = Buffer.from(
          `${a}{${members.map(([, key, value]) => `${b}${key}${c}:${d}${value}${a}`).join(',')}}${b}`,
        )
        const keys = members.map(([key]) => key)
        if (new Set(keys).size < keys.length) {
          expect(refusal(raw)).toMatchObject({ status: 400, message: expect.stringContaining('Duplicate') })
          return
        }
        const { json, spans } = parseRawBody(raw)
        expect(json).toEqual(JSON.parse(raw.toString()))
        expect([...spans].map(([key, { start, end }]) => [key, raw.toString('utf8', start, end)])).toEqual(
          members.map(([key, , value]) => [key, value]),
        )
      },
    ),
    { numRuns: 500 },
  )
})

it('what is kept of a body for its answer does not hold the body', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const bodies = 50
  const text = `{"model":"one","stream_options":null,"max_completion_tokens":1,"pad":"${'x'.repeat(200_000)}"}`
  collect()
  const before = process.memoryUsage().heapUsed
  const kept = Array.from({ length: bodies }, () => parseRawBody(Buffer.from(text)).spans)
  collect()
  const bytes = process.memoryUsage().heapUsed - before
  expect(kept).toHaveLength(bodies)
  expect(bytes / bodies).toBeLessThan(text.length / 2)
})

it.each([
  ['nothing', '', null],
  ['a byte order mark', '\ufeff{"model":"a"}', null],
  ['a string without end', '{"model":"a', null],
  ['a key without end', '{"mod', null],
  ['a backslash at the end', '{"model":"a\\\\\\', null],
  ['a control character in a key', '{"mo\u0000del":"a"}', null],
  ['a key with a bad escape', '{"mo\\del":"a"}', null],
  ['a space that is none in JSON', '{\u00a0"model":"a"}', null],
  ['a repeated key that is not ASCII', '{"modèle":1,"mod\\u00e8le":2}', 'mod?le'],
  ['an array', '[]', null],
  ['half an object', '{"a":', null],
  ['a repeated key', '{"model":"a","model":"b"}', 'model'],
  ['a repeated key, escaped', '{"model":"a","mod\\u0065l":"b"}', 'model'],
  ['a repeated __proto__', '{"__proto__":1,"__proto__":2}', '__proto__'],
  ['deep nesting', `{"a":${'['.repeat(65)}${']'.repeat(65)}}`, null],
  ['very many values', `{"a":[${'1,'.repeat(200_001)}1]}`, null],
])('refuses %s with 400', (_, text, param) => {
  expect(refusal(Buffer.from(text))).toMatchObject({ status: 400, type: 'invalid_request_error', param })
})

it('refuses bytes that are not UTF-8', () => {
  for (const bytes of [[0xff], [0xc3], [0xc0, 0xa2], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe9]]) {
    const raw = Buffer.from([0x7b, 0x22, ...bytes, 0x22, 0x3a, 0x31, 0x7d])
    expect(refusal(raw).message).toMatch(/UTF-8/)
  }
})

it('whatever comes, the answer is an object or a 400', () => {
  const bytes = fc.oneof(
    fc.uint8Array().map((array) => Buffer.from(array)),
    fc
      .string({ unit: fc.constantFrom('{', '}', '[', ']', '"', '\\', ',', ':', '1', 'a', ' ') })
      .map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(bytes, (raw) => {
      try {
        expect(typeof parseRawBody(raw).json).toBe('object')
      } catch (error) {
        expect(error).toMatchObject({ status: 400 })
      }
    }),
    { numRuns: 2_000 },
  )
})
