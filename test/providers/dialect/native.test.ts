import { expect, test } from 'vitest'
import { dialectFor } from '../../../src/candidates/dialect.ts'
import { loadConfig } from '../../../src/config/load.ts'
import { parseMessages } from '../../../src/openai/messages/body.ts'
import { nativeRequest as nativeMessages } from '../../../src/openai/messages/native.ts'
import { toChat as messagesToChat } from '../../../src/openai/messages/to-chat.ts'
import { parseResponses } from '../../../src/openai/responses/body.ts'
import { nativeRequest } from '../../../src/openai/responses/native.ts'
import { told, written } from '../../../src/openai/responses/to-chat.ts'
import { adapt } from '../../../src/providers/dialect/adapt.ts'
import { candidate } from '../../support/relay-harness.ts'

const { dialects } = loadConfig('config/gateway.yaml', {}).config
const bytes = (body: object) => Buffer.from(JSON.stringify(body))

function sent(provider: string, model: string, request: Parameters<typeof adapt>[0], strict = false) {
  const dialect = dialectFor(dialects[provider]!, model)
  const { native, dropped = [] } = adapt(request, candidate('c', provider, { model, dialect }), undefined, strict)
  return { body: JSON.parse(Buffer.from(native!.raw).toString()) as Record<string, unknown>, dropped }
}

function responses(model: string, fields: object, strict = false) {
  const parsed = parseResponses(bytes({ model: 'auto', input: 'Hi', ...fields }))
  const items = [{ type: 'message', role: 'user', content: 'Hi' }]
  const { request } = written(told({ body: parsed.body, items }, null, () => null))
  return sent('openai', model, { ...request, dropped: [], native: nativeRequest(parsed.raw, parsed.spans) }, strict)
}

function messages(model: string, fields: object) {
  const parsed = parseMessages(
    bytes({ model: 'auto', max_tokens: 50, messages: [{ role: 'user', content: 'Hi' }], ...fields }),
  )
  const { request } = messagesToChat(parsed.body, null)
  return sent('anthropic', model, { ...request, dropped: [], native: nativeMessages(parsed, {}) })
}

test('a Responses request in OpenAI’s own format: what a model does not take is left off, or put in its words', () => {
  const asked = { temperature: 0.2, reasoning: { effort: 'none', summary: 'auto' }, text: { verbosity: 'low' } }
  expect(responses('gpt-5', asked)).toMatchObject({
    body: { reasoning: { effort: 'minimal', summary: 'auto' }, text: { verbosity: 'low' } },
    dropped: ['temperature'],
  })
  expect(responses('gpt-5', asked).body).not.toHaveProperty('temperature')
  expect(responses('gpt-4o-mini', asked)).toEqual({
    body: { model: 'auto', input: 'Hi', temperature: 0.2, reasoning: { summary: 'auto' }, text: {} },
    dropped: ['text.verbosity', 'reasoning.effort'],
  })
  expect(() => responses('gpt-5', asked, true)).toThrow(/temperature/)
})

test('a tool of text for a model of functions alone is not tried', () => {
  const tools = [{ type: 'custom', name: 'shell' }]
  expect(() => responses('gpt-4o-mini', { tools })).toThrow(/custom/)
  expect(responses('gpt-5', { tools }).body).toMatchObject({ tools })
})

test('nothing to change: the client’s own bytes', () => {
  const body = { model: 'auto', input: 'Hi', big: 12345678901234567890n.toString(), tools: [], temperature: 1 }
  expect(responses('gpt-5', body)).toEqual({ body, dropped: [] })
})

test('a Messages request in Anthropic’s own format', () => {
  expect(
    messages('claude-opus-4-8', { temperature: 1, top_p: 0.5, top_k: 4, thinking: { type: 'adaptive' } }),
  ).toMatchObject({
    body: { max_tokens: 50, thinking: { type: 'adaptive' } },
    dropped: ['top_p', 'top_k'],
  })
  const kept = { temperature: 0.5, top_k: 4, metadata: { user_id: 'u' } }
  expect(messages('claude-haiku-4-5', kept)).toMatchObject({ body: kept, dropped: [] })
})
