import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/errors.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'

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
  it('name exactly the bytes of every top-level value', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(undefined, 1, '\t'), (object, indent) => {
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

it.each([
  ['nothing', '', null],
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
  expect(refusal(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])).message).toMatch(/UTF-8/)
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
