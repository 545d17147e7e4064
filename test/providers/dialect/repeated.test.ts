import { expect, test } from 'vitest'
import { parseChat } from '../../../src/openai/parse-chat.ts'
import { readRefusal } from '../../../src/providers/dialect/refusal.ts'
import { withoutRepeated } from '../../../src/providers/dialect/repeated.ts'
import { readAnswer } from '../../../src/providers/relay/read-answer.ts'
import { candidate } from '../../support/relay-harness.ts'

const WORDS = 'maximum context length, model not found, seed not supported'

function read(message: string, fields: object = { seed: 1 }) {
  const messages = [{ role: 'user', content: 'Hi' }]
  const request = parseChat(Buffer.from(JSON.stringify({ model: 'auto', messages, ...fields })))
  const body = Buffer.from(JSON.stringify({ message, code: 400 }))
  return readRefusal({ kind: 'status', status: 400, code: null, retryAfterMs: null, body, headers: {} }, request)
}

/** vLLM tells FastAPI's errors as Python writes them, one a line or as a list; some print pydantic's own lines. */
test.each([
  ['a line', (said: string) => `1 validation error:\n  {'type': 'missing', 'loc': ('body',), 'input': ${said}}`],
  ['a list', (said: string) => `[{'type': 'missing', 'loc': ('body',), 'msg': 'Field required', 'input': ${said}}]`],
  ['two of a list', (said: string) => `[{'input': ${said}, 'url': 'x'}, {'type': 'missing', 'input': ${said}}]`],
  ['a line of pydantic', (said: string) => `x\n  Field required [type=missing, input_value=${said}, input_type=dict]`],
])('%s: what repeats the request is not the provider’s word', (_, told) => {
  for (const said of [
    `{'text': '${WORDS}'}`,
    `{'text': "${WORDS}", 'more': [{'x': 1}]}`,
    `{'text': '}] ${WORDS}'}`,
    `"it's ${WORDS}"`,
    `'\\'${WORDS}'`,
    `{'text': '${WORDS}`,
  ]) {
    expect(read(told(said))).toMatchObject({ about: 'candidate', refused: [] })
    expect(read(told(said))).not.toHaveProperty('isTooLong')
  }
})

test('words before and after what is repeated stay', () => {
  expect(withoutRepeated("[{'input': {'a': 1}, 'msg': 'm'}, {'input': None}] at the end")).toBe(
    "[{'input': , 'msg': 'm'}, {'input': None}] at the end",
  )
  expect(read("[{'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 1}]")?.refused).toEqual([
    'seed',
  ])
  expect(read("Invalid type for 'input': expected an array, and maximum context is 5")).toHaveProperty('isTooLong')
})

test('an error as long as it may be is read at once', () => {
  for (const piece of [
    "'input': ",
    "'input': {",
    'input_value=',
    'Requested 1 ',
    'string too long ',
    'exceed the limit',
  ]) {
    for (const status of [400, 429]) {
      const body = Buffer.from(JSON.stringify({ error: { message: piece.repeat(262_144 / piece.length) } }))
      const failure = { kind: 'status', status, code: null, retryAfterMs: null, body, headers: {} } as const
      const content = 'Hi'
      const request = parseChat(
        Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content }], user: 'someone' })),
      )
      expect(() => readRefusal(failure, request)).not.toThrow()
    }
  }
})

test('a field’s name is no expression', () => {
  const said = `${'a'.repeat(40)}! is an unsupported parameter`
  for (const name of ['(a_a', '(?:a+)+$', '(a|aa)+_x', 'n'.repeat(20_000)]) {
    expect(read(said, { [name]: 1 })?.refused).toEqual([])
  }
  expect(read("Unsupported parameter: 'x(y'", { 'x(y': 1 })?.refused).toEqual(['x(y'])
})

test('what a client wrote of keys and credit is not the provider’s word of ours', async () => {
  const message = "[{'type': 'missing', 'input': {'text': 'invalid api key, credit balance'}}]"
  async function* body() {
    yield Buffer.from(JSON.stringify({ error: { message } }))
  }
  const request = parseChat(Buffer.from(JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }] })))
  const headers = { 'content-type': 'application/json' }
  const head = { candidate: candidate('c', 'p'), request, status: 400, headers, attempts: [], upstreamMs: 0 }
  const nothing = () => undefined
  const untouched = { tenant: 'a', abort: nothing, onBytes: nothing, release: nothing, quietMs: null, endingMs: 5_000 }
  expect(await readAnswer(head, body(), untouched)).toMatchObject({ failure: { kind: 'status', status: 400 } })
})
