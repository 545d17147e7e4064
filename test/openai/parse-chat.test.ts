import { expect, it } from 'vitest'
import { parseChat } from '../../src/openai/parse-chat.ts'

const user = { role: 'user', content: 'hi' }
const parse = (body: object) => parseChat(Buffer.from(JSON.stringify({ model: 'auto', messages: [user], ...body })))

it.each([
  [{ model: undefined }, 'model'],
  [{ model: 5 }, 'model'],
  [{ messages: [] }, 'messages'],
  [{ messages: 'hi' }, 'messages'],
  [{ messages: [{ content: 'hi' }] }, 'messages.0.role'],
  [{ messages: [user, { role: 'user', content: 7 }] }, 'messages.1.content'],
  [{ stream: 'yes' }, 'stream'],
  [{ temperature: '1' }, 'temperature'],
  [{ n: 0 }, 'n'],
  [{ max_tokens: -1 }, 'max_tokens'],
  [{ tools: [{}] }, 'tools.0.type'],
  [{ response_format: 'json' }, 'response_format'],
  [{ user: 3 }, 'user'],
])('%j is a 400 that names %s', (body, param) => {
  expect(() => parse(body)).toThrow(expect.objectContaining({ status: 400, type: 'invalid_request_error', param }))
})

it('lets fields pass that it does not know, and numbers that JSON.parse can’t hold', () => {
  const raw = Buffer.from(
    '{"model":"auto","messages":[{"role":"user","content":"hi"}],"seed":1e400,"new_field":[{"a":null}]}',
  )
  expect(parseChat(raw).body.new_field).toEqual([{ a: null }])
})

it.each([
  [{ tools: [{ type: 'function', function: { name: 'f' } }] }, ['tools']],
  [{ messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }] }, ['vision']],
  [{ messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }] }, ['audio']],
  [{ response_format: { type: 'json_schema', json_schema: {} } }, ['json_schema']],
  [{ response_format: { type: 'json_object' } }, []],
  [{ logprobs: true, modalities: ['text', 'audio'] }, ['logprobs', 'audio']],
])('%j needs %j', (body, needs) => {
  expect([...parse(body).needs].sort()).toEqual([...needs].sort())
})

it('estimates the prompt: text, tools and images', () => {
  expect(parse({ messages: [{ role: 'user', content: 'x'.repeat(400) }] }).promptTokens).toBe(104)
  const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: `data:${'x'.repeat(9_999)}` } }] }
  expect(parse({ messages: [image] }).promptTokens).toBe(769)
})
