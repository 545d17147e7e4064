import { expect, it } from 'vitest'
import { parseChat } from '../../src/openai/parse-chat.ts'
import { isPlainChat } from '../../src/openai/plain-chat.ts'

const FIELDS = [
  ...['model', 'messages', 'stream', 'stream_options', 'temperature', 'top_p', 'n', 'max_tokens', 'stop', 'seed'],
  ...['max_completion_tokens', 'presence_penalty', 'frequency_penalty', 'logprobs', 'top_logprobs', 'tools', 'user'],
  ...['functions', 'parallel_tool_calls', 'response_format', 'modalities', 'safety_identifier', 'new_field'],
]
const VALUES = [null, undefined, true, 0, 0.5, 1, -1, '', 'x', 'x'.repeat(256), 'x'.repeat(257), [], {}, ['x'], [{}]]
const PLAIN = { model: 'auto', messages: [{ role: 'user', content: 'hi' }] }

const bodies = FIELDS.flatMap((name) => VALUES.map((value) => ({ ...PLAIN, [name]: value })))
const messages = ['role', 'content', 'tool_calls', 'name'].flatMap((name) =>
  VALUES.map((value) => ({ ...PLAIN, messages: [...PLAIN.messages, { role: 'user', content: 'hi', [name]: value }] })),
)
const odd = [null, 'hi', 7, [], ['role']].map((message) => ({ ...PLAIN, messages: [message] }))
/** As JSON has them: what is undefined is not there. */
const all = [...bodies, ...messages, ...odd].map((body) => JSON.parse(JSON.stringify(body)) as Record<string, unknown>)

/** A list is not plain, so that the schema looks at it all. */
const bySchema = (body: object) => parseChat(Buffer.from(JSON.stringify({ ...body, modalities: ['text'] })))

it('calls nothing plain that the schema refuses', () => {
  const plain = all.filter(isPlainChat)
  expect(plain.length).toBeGreaterThan(100)
  for (const body of plain) expect(bySchema(body).body.messages).toEqual(body.messages)
})

it('calls plain what has texts and numbers alone', () => {
  const asked = { temperature: 0.7, top_p: 1, n: 2, max_tokens: 64, stop: 'x', stream: true, user: 'u', seed: null }
  expect(isPlainChat({ ...PLAIN, ...asked, new_field: [{ a: null }] })).toBe(true)
  expect(isPlainChat({ ...PLAIN, tools: [{ type: 'function' }] })).toBe(false)
})
