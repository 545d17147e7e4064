import { describe, expect, test } from 'vitest'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { rewrite } from '../../src/openai/rewrite.ts'
import fc from '../support/properties.ts'
import { candidate } from '../support/relay-harness.ts'

const gpt = candidate('fast', 'openai', { model: 'gpt-x "quoted"' })
const sent = (text: string, who = gpt, askUsage = true) =>
  Buffer.concat(rewrite(parseChat(Buffer.from(text)), who, { askUsage })).toString()
const MESSAGES = '"messages":[{"role":"user","content":"Hi"}]'

describe('model', () => {
  test('only its value changes; odd spacing, big numbers and unknown fields stay to the byte', () => {
    const before = `{\n  "seed" : 12345678901234567890,"x":1e400 , "model"\t:  "auto",${MESSAGES}, "deep":{"model":"auto"},"😀":"\\ud83d\\ude00"}\n`
    expect(sent(before)).toBe(before.replace('"auto"', '"gpt-x \\"quoted\\""'))
  })
})

test('the model is replaced to the byte in any body: other bytes, wide characters and all, are the client’s', () => {
  const value = fc.string({ unit: 'binary', minLength: 1 }).map((text) => JSON.stringify(text))
  fc.assert(
    fc.property(value, value, value, fc.constantFrom('"model"', '"m\\u006fdel"'), (before, after, model, key) => {
      const text = (name: string) =>
        `{"é\\"":${before} , ${key}\t: ${name}, "messages":[{"role":"user","content":${after}}]}`
      const sent = Buffer.concat(rewrite(parseChat(Buffer.from(text(model))), gpt, { askUsage: true }))
      expect(sent.equals(Buffer.from(text(JSON.stringify(gpt.model))))).toBe(true)
    }),
  )
})

describe('usage of a stream', () => {
  const stream = (options: string) => `{"model":"auto","stream":true${options},${MESSAGES}}`

  test.each([
    ['no wish', '', '{"stream_options":{"include_usage":true},"model":"M","stream":true,MS}'],
    ['null', ',"stream_options":null', '{"model":"M","stream":true,"stream_options":{"include_usage":true},MS}'],
    [
      'false',
      ',"stream_options":{ "include_usage" : false }',
      '{"model":"M","stream":true,"stream_options":{ "include_usage" : true },MS}',
    ],
    [
      'another option',
      ',"stream_options":{"big":12345678901234567890}',
      '{"model":"M","stream":true,"stream_options":{"include_usage":true,"big":12345678901234567890},MS}',
    ],
    [
      'an empty object',
      ',"stream_options":{ }',
      '{"model":"M","stream":true,"stream_options":{"include_usage":true },MS}',
    ],
    [
      'true',
      ',"stream_options":{"include_usage":true}',
      '{"model":"M","stream":true,"stream_options":{"include_usage":true},MS}',
    ],
  ])('%s', (_, options, expected) => {
    expect(sent(stream(options))).toBe(expected.replace('"M"', JSON.stringify(gpt.model)).replace('MS', MESSAGES))
  })

  test('not asked for where the answer is plain, or the server refuses the field', () => {
    expect(sent(`{"model":"auto",${MESSAGES}}`)).not.toContain('stream_options')
    expect(sent(stream(''), gpt, false)).not.toContain('stream_options')
  })
})

test("a candidate's defaults are added where the request lacks the field; its own value, null too, wins", () => {
  const eager = { ...gpt, defaults: { reasoning_effort: 'low', temperature: 0.2 } }
  expect(sent(`{"model":"auto","temperature":null,${MESSAGES}}`, eager)).toBe(
    `{"reasoning_effort":"low","model":${JSON.stringify(gpt.model)},"temperature":null,${MESSAGES}}`,
  )
})

test.each([
  ['{"max_tokens":200}', { max_completion_tokens: 32_000 }, {}],
  ['{"max_completion_tokens":200}', { max_tokens: 32_000 }, {}],
  ['{"max_tokens":null}', { max_completion_tokens: 32_000 }, { max_completion_tokens: 32_000 }],
  ['{"seed":7}', { seed: 1 }, {}],
  ['{}', { seed: 1 }, { seed: 1 }],
  ['{"reasoning":{"effort":"low"}}', { reasoning_effort: 'high' }, {}],
  ['{"reasoning":{"exclude":true}}', { reasoning_effort: 'high' }, { reasoning_effort: 'high' }],
  ['{"reasoning_effort":"low"}', { reasoning: { effort: 'high', exclude: true } }, { reasoning: { exclude: true } }],
  ['{"reasoning_effort":"low"}', { reasoning: { effort: 'high' } }, {}],
])('%s wins over the defaults %j, whichever name the wish has', (fields, defaults, added) => {
  const who = { ...gpt, defaults }
  const rename = new Map([['seed', 'random_seed']])
  const whole = `{${fields.slice(1, -1)}${fields === '{}' ? '' : ','}"model":"auto",${MESSAGES}}`
  const options = { askUsage: true, rename }
  const before = JSON.parse(Buffer.concat(rewrite(parseChat(Buffer.from(whole)), gpt, options)).toString())
  const after = JSON.parse(Buffer.concat(rewrite(parseChat(Buffer.from(whole)), who, options)).toString())
  expect(after).toEqual({ ...before, ...added })
})

test('fields that a server refuses are left out or renamed; values stay to the byte', () => {
  const text = `{ "user":"u", "max_completion_tokens" : 12345678901234567890 ,"model":"auto",${MESSAGES}, "x": 1e400, "stream_options":{"include_usage":true},"stream":true }`
  const options = {
    askUsage: false,
    omit: new Set(['user', 'stream_options', 'absent']),
    rename: new Map([['max_completion_tokens', 'max_tokens']]),
  }
  expect(Buffer.concat(rewrite(parseChat(Buffer.from(text)), gpt, options)).toString()).toBe(
    `{"max_tokens":12345678901234567890,"model":${JSON.stringify(gpt.model)},${MESSAGES},"x":1e400,"stream":true}`,
  )
  const both = `{"max_tokens":5,"max_completion_tokens":9,"model":"auto",${MESSAGES}}`
  expect(JSON.parse(Buffer.concat(rewrite(parseChat(Buffer.from(both)), gpt, options)).toString())).toMatchObject({
    max_tokens: 5,
  })
  const untouched = `{ "model":"auto" ,${MESSAGES} }`
  expect(Buffer.concat(rewrite(parseChat(Buffer.from(untouched)), gpt, options)).toString()).toBe(
    untouched.replace('"auto"', JSON.stringify(gpt.model)),
  )
})

test('whatever the request: the result parses, and all but model and stream_options is the same', () => {
  const field = fc
    .string({ minLength: 1 })
    .filter((key) => !['model', 'messages', 'stream', 'stream_options', '__proto__'].includes(key))
  fc.assert(
    fc.property(
      fc.dictionary(field, fc.jsonValue({ maxDepth: 3 }), { noNullPrototype: true }),
      fc.boolean(),
      (extra, stream) => {
        const request = { ...extra, model: 'auto', stream, messages: [{ role: 'user', content: 'Hi' }] }
        let parsed: ReturnType<typeof parseChat>
        try {
          parsed = parseChat(Buffer.from(JSON.stringify(request)))
        } catch {
          return // A field of OpenAI's with a value of the wrong type.
        }
        const { stream_options, ...result } = JSON.parse(
          Buffer.concat(rewrite(parsed, gpt, { askUsage: true })).toString(),
        )
        expect(result).toEqual(JSON.parse(JSON.stringify({ ...request, model: gpt.model })))
        expect(stream_options).toEqual(stream ? { include_usage: true } : undefined)
      },
    ),
  )
})
