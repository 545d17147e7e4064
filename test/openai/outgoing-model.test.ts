import { expect, test } from 'vitest'
import type { ChatRequest } from '../../src/openai/chat.ts'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { parseRawBody } from '../../src/openai/raw-body.ts'
import { replaceModel, rewrite } from '../../src/openai/rewrite.ts'
import fc from '../support/properties.ts'

/** Whatever a body holds, the `model` that leaves is the candidate's, however the provider reads JSON. */
const MODEL = 'the-model "that was" chosen'

/** Go's encoding/json, and worse: keys match but for case and separators (Unicode-folded), and the last one wins. */
function looseModel(bytes: Buffer): unknown[] {
  const found: unknown[] = []
  // A reviver sees each key of an object once; so the members are taken from the text.
  const { spans } = strictly(bytes)
  for (const [key, { start, end }] of spans) {
    const folded = key.toUpperCase().toLowerCase().replace(/[-_]/g, '')
    if (folded === 'model') found.push(JSON.parse(bytes.subarray(start, end).toString()))
  }
  return found
}

/** Throws where a key is there twice. */
const strictly = (bytes: Buffer) => parseRawBody(bytes)

const space = fc.constantFrom('', ' ', '\n', '\t ', '\r\n')
const KEYS = [
  'model',
  'm\\u006fdel',
  'Model',
  'mo_del',
  'stream',
  'stream_options',
  'max_tokens',
  'n',
  'x',
  'y',
  '__proto__',
]
const VALUES = [
  '"auto"',
  '"dear"',
  'null',
  '1',
  '{"model":"dear"}',
  '[{"model":"dear"}]',
  '"\\"model\\":\\"dear\\""',
  'true',
]
const member = fc.tuple(fc.constantFrom(...KEYS), space, space, fc.constantFrom(...VALUES), space)
const OPTIONS = fc.record({
  askUsage: fc.boolean(),
  omit: fc.subarray(['model', 'x', 'n', 'stream_options']).map((fields) => new Set(fields)),
  rename: fc
    .dictionary(fc.constantFrom('x', 'y', 'max_tokens', 'model'), fc.constantFrom('model', 'n', 'z', 'max_tokens'))
    .map((names) => new Map(Object.entries(names).filter(([from]) => from !== 'model'))),
})
const DEFAULTS = fc.dictionary(
  fc.constantFrom('model', 'n', 'z', 'temperature'),
  fc.constantFrom<unknown>('dear', 1, null),
)

const bodyOf = (members: string[][], messages: boolean): Buffer => {
  const all = members.map(([key, a, b, value, c]) => `${a}"${key}"${b}:${value}${c}`)
  return Buffer.from(
    `{${[...(messages ? ['"messages":[{"role":"user","content":"\\"model\\":1"}]'] : []), ...all].join(',')}}`,
  )
}

function accepted<T>(parse: () => T): T | null {
  try {
    return parse()
  } catch {
    return null
  }
}

test('chat completions, with whatever a server lacks, calls otherwise, or is given by default', () => {
  let sent = 0
  fc.assert(
    fc.property(
      fc.array(member, { maxLength: 5 }),
      OPTIONS,
      DEFAULTS,
      fc.boolean(),
      (members, options, defaults, inPath) => {
        const request = accepted<ChatRequest>(() => parseChat(bodyOf(members, true), inPath ? 'deployment' : undefined))
        if (!request) return
        sent++
        const bytes = Buffer.concat(rewrite(request, { model: MODEL, defaults }, options))
        expect(looseModel(bytes)).toEqual([MODEL])
      },
    ),
    { numRuns: 5_000 },
  )
  expect(sent).toBeGreaterThan(500)
})

test('bodies in formats that a provider has itself', () => {
  let sent = 0
  fc.assert(
    fc.property(fc.array(member, { maxLength: 5 }), (members) => {
      const bytes = bodyOf(members, false)
      const parsed = accepted(() => parseRawBody(bytes))
      if (!parsed) return
      sent++
      expect(looseModel(Buffer.concat(replaceModel(bytes, parsed.spans, MODEL)))).toEqual([MODEL])
    }),
    { numRuns: 3_000 },
  )
  expect(sent).toBeGreaterThan(500)
})
