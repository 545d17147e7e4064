import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { shippedDialects } from '../emulators/shipped.ts'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { contentOf } from '../support/messages-stream.ts'
import { type Json, readEvents } from '../support/responses-spec.ts'
import { chunkOf, completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * A model whose tool calls carry a thought that must come back with them (Gemini 3,
 * ai.google.dev/gemini-api/docs/thought-signatures): it refuses a call without, as documented.
 */
let gateway: RunningGateway
let upstream: Upstream

const THOUGHT = { google: { thought_signature: 'c2lnbmVk' } }

function gemini(exchange: Exchange): void {
  const { messages, stream } = exchange.json as Json
  const called = messages.findLast(({ tool_calls }: Json) => tool_calls)
  if (called && JSON.stringify(called.tool_calls[0].extra_content) !== JSON.stringify(THOUGHT)) {
    exchange.reply(400, { error: { message: 'Function call is missing a thought_signature in functionCall parts.' } })
    return
  }
  const calls = [
    { id: 'call_a', type: 'function', function: { name: 'look', arguments: '{"at":1}' }, extra_content: THOUGHT },
    { id: 'call_b', type: 'function', function: { name: 'look', arguments: '{"at":2}' } },
  ]
  const answer = called ? { content: 'Seen.' } : { content: 'I look.', tool_calls: calls }
  const reason = called ? 'stop' : 'tool_calls'
  if (!stream) {
    const choice = { index: 0, message: { role: 'assistant', ...answer }, finish_reason: reason }
    exchange.reply(200, completionBody('', { choices: [choice] }))
    return
  }
  exchange.stream()
  exchange.event(chunkOf({ role: 'assistant', content: answer.content }))
  for (const [index, one] of (called ? [] : calls).entries())
    exchange.event(chunkOf({ tool_calls: [{ index, ...one }] }))
  exchange.event(chunkOf({}, reason))
  exchange.chunk('data: [DONE]\n\n')
  exchange.end()
}

beforeAll(async () => {
  upstream = await startUpstream(gemini)
  gateway = await startGateway({
    dialects: { google: shippedDialects().google },
    providers: { google: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: [{ name: 'gemini-3-pro', provider: 'google', price: { input: 1, output: 2 } }],
    retries: { max_attempts: 1, breaker: { failures: 1_000 } },
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

async function answerTo(path: string, body: Json): Promise<string> {
  const answer = await call(gateway, path, { user: 'ann', body })
  const text = await answer.text()
  expect(answer.status, text).toBe(200)
  return text
}

describe.each(['auto', 'gemini-3-pro'])('a tool loop of %s', (model) => {
  test.each([false, true])('by responses, streamed: %s', async (stream) => {
    const tools = [{ type: 'function', name: 'look', parameters: { type: 'object', properties: {} } }]
    const body = { model, stream, store: false, tools }
    const responseOf = (text: string) => (stream ? readEvents(text).at(-1)?.data.response : JSON.parse(text))
    const user = { role: 'user', content: 'Look twice.' }
    const { output } = responseOf(await answerTo('/v1/responses', { ...body, input: [user] }))
    expect(output.map(({ type }: Json) => type)).toEqual(['message', 'reasoning', 'function_call', 'function_call'])
    expect(JSON.stringify(output)).not.toContain(THOUGHT.google.thought_signature)
    const results = ['call_a', 'call_b'].map((call_id) => ({ type: 'function_call_output', call_id, output: 'a' }))
    const second = responseOf(await answerTo('/v1/responses', { ...body, input: [user, ...output, ...results] }))
    expect(second.output[0].content[0].text).toBe('Seen.')
    const sent = JSON.parse(String(upstream.requests.at(-1)?.body)) as Json
    expect(sent.messages.map(({ role }: Json) => role)).toEqual(['user', 'assistant', 'tool', 'tool'])
    expect(sent.messages[1].tool_calls.map(({ extra_content }: Json) => extra_content)).toEqual([THOUGHT, undefined])
  })

  test.each([false, true])('by messages, streamed: %s', async (stream) => {
    const tools = [{ name: 'look', input_schema: { type: 'object', properties: {} } }]
    const body = { model, max_tokens: 100, stream, tools }
    const user = { role: 'user', content: 'Look twice.' }
    const text = await answerTo('/v1/messages', { ...body, messages: [user] })
    const content = stream ? contentOf(text) : JSON.parse(text).content
    expect(content.map(({ type }: Json) => type)).toEqual(['text', 'redacted_thinking', 'tool_use', 'tool_use'])
    const results = ['call_a', 'call_b'].map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'a' }))
    const messages = [user, { role: 'assistant', content }, { role: 'user', content: results }]
    expect(await answerTo('/v1/messages', { ...body, messages })).toContain('Seen.')
    const sent = JSON.parse(String(upstream.requests.at(-1)?.body)) as Json
    expect(sent.messages[1].tool_calls.map(({ extra_content }: Json) => extra_content)).toEqual([THOUGHT, undefined])
  })
})
