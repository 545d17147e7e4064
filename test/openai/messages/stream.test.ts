import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import { MessagesObserver } from '../../../src/openai/messages/native.ts'
import { messageOf } from '../../../src/openai/messages/plain.ts'
import { MessageStream } from '../../../src/openai/messages/stream.ts'
import { openThought } from '../../../src/openai/messages/thoughts.ts'
import { frame } from '../../../src/openai/sse.ts'
import { fixture } from '../../support/fixtures.ts'
import fc from '../../support/properties.ts'

const USAGE = { promptTokens: 12, completionTokens: 7, cachedTokens: 4, cacheWriteTokens: 1, reasoningTokens: 0 }
type Delta = Record<string, unknown>

/** All that the stream says of these deltas, the bytes cut wherever `cuts` says. */
function told(deltas: Delta[], finishReason = 'stop', cuts: number[] = []): string {
  const stream = new MessageStream({
    candidate: 'c',
    promptTokens: 10,
    usage: () => USAGE,
    finishReason: () => finishReason,
  })
  const bytes = Buffer.concat(
    deltas.map((delta) => frame({ id: 'chatcmpl-1', model: 'm', choices: [{ index: 0, delta, finish_reason: null }] })),
  )
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  const parts = at.slice(1).map((end, i) => stream.push(bytes.subarray(at[i], end)))
  return [...parts, stream.end()].map((part) => part?.toString() ?? '').join('')
}

/** The official SDK's idea of what the events add up to. */
async function accumulated(events: string): Promise<Anthropic.Message> {
  const client = new Anthropic({
    apiKey: 'x',
    maxRetries: 0,
    fetch: async () => new Response(events, { headers: { 'content-type': 'text/event-stream' } }),
  })
  return client.messages
    .stream({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'Hi' }] })
    .finalMessage()
}
const names = (events: string) => [...events.matchAll(/^event: (.*)$/gm)].map(([, name]) => name)
const call = (index: number, fields: Delta, piece: string) => ({
  tool_calls: [
    { index, ...fields, function: { ...('id' in fields && { name: `f${String(fields.id)}` }), arguments: piece } },
  ],
})

describe('a stream', () => {
  test('of text has the events in order', async () => {
    const events = told([{ role: 'assistant', content: '' }, { content: 'Hel' }, { content: 'lo' }, {}])
    expect(names(events)).toEqual([
      'message_start',
      'ping',
      'content_block_start',
      'content_block_delta',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(await accumulated(events)).toMatchObject({
      id: 'chatcmpl-1',
      model: 'm',
      role: 'assistant',
      content: [{ type: 'text', text: 'Hello' }],
      stop_reason: 'end_turn',
      usage: { input_tokens: 7, output_tokens: 7, cache_read_input_tokens: 4, cache_creation_input_tokens: 1 },
    })
  })

  test('of thoughts, text and calls', async () => {
    const message = await accumulated(
      told(
        [
          { reasoning_content: 'hm, ' },
          { reasoning_content: 'so' },
          { reasoning_details: [{ type: 'reasoning.text', text: '', signature: 'sig', index: 0 }] },
          { content: 'I look.' },
          call(0, { id: 'a' }, ''),
          call(0, {}, '{"x"'),
          call(0, {}, ':1}'),
          call(1, { id: 'b' }, '{}'),
        ],
        'tool_calls',
      ),
    )
    expect(message.stop_reason).toBe('tool_use')
    expect(message.content.map(({ type }) => type)).toEqual(['thinking', 'text', 'tool_use', 'tool_use'])
    expect(openThought(message.content[0] as never)).toEqual({
      candidate: 'c',
      thought: { text: 'hm, so', signature: 'sig' },
    })
    expect(message.content.slice(2)).toMatchObject([
      { id: 'a', name: 'fa', input: { x: 1 } },
      { id: 'b', name: 'fb', input: {} },
    ])
  })

  test('of calls that come at once tells one after the other, whole', async () => {
    const message = await accumulated(
      told(
        [
          call(0, { id: 'a' }, '{"x'),
          call(1, { id: 'b' }, '{"y'),
          { content: 'meanwhile' },
          call(0, {}, '":1}'),
          call(1, {}, '":2}'),
          call(2, { id: 'c' }, ''),
        ],
        'tool_calls',
      ),
    )
    expect(message.content).toMatchObject([
      { id: 'a', input: { x: 1 } },
      { id: 'b', input: { y: 2 } },
      { id: 'c', input: {} },
      { type: 'text', text: 'meanwhile' },
    ])
  })

  test('of calls that all have one index, and are told apart by their ids', async () => {
    const message = await accumulated(told([call(0, { id: 'a' }, '{"x":1}'), call(0, { id: 'b' }, '{"x":2}')], 'stop'))
    expect(message.stop_reason).toBe('tool_use')
    expect(message.content).toMatchObject([
      { id: 'a', input: { x: 1 } },
      { id: 'b', input: { x: 2 } },
    ])
  })

  test.each([
    ['length', [{ content: 'x' }], 'max_tokens'],
    ['content_filter', [{ content: 'x' }], 'refusal'],
    ['stop', [{ refusal: 'No.' }], 'refusal'],
  ])('that ends by %s', async (reason, deltas, expected) => {
    expect((await accumulated(told(deltas, reason))).stop_reason).toBe(expected)
  })

  test('adds up to the plain answer, wherever its bytes are cut', async () => {
    const deltas = fc.array(
      fc.oneof(
        fc.record({ content: fc.string({ unit: 'grapheme' }) }),
        fc.record({ reasoning_content: fc.string({ unit: 'grapheme' }) }),
      ),
      { maxLength: 8 },
    )
    await fc.assert(
      fc.asyncProperty(deltas, fc.array(fc.nat(), { maxLength: 6 }), async (given, cuts) => {
        const whole = told(given, 'stop', [])
        expect(told(given, 'stop', cuts)).toBe(whole)
        const content = given.map((delta) => ('content' in delta ? delta.content : '')).join('')
        const message = await accumulated(whole)
        expect(message.content.map((block) => (block.type === 'text' ? block.text : '')).join('')).toBe(content)
      }),
      { numRuns: 60 },
    )
  })

  test('that breaks ends with an error that the SDK raises', async () => {
    const stream = new MessageStream({ candidate: 'c', promptTokens: 1, usage: () => USAGE, finishReason: () => null })
    const begun = stream.push(frame({ id: 'x', model: 'm', choices: [{ index: 0, delta: { content: 'Hel' } }] }))
    const end = stream.fail({ message: 'It broke.', type: 'api_error', param: null, code: 'upstream_error' })
    expect([stream.end(), stream.fail({ message: '', type: '', param: null, code: null })]).toEqual([null, null])
    await expect(accumulated(`${begun}${end}`)).rejects.toThrow('It broke.')
  })
})

describe('a whole answer', () => {
  const message = (said: Delta, finish_reason = 'stop') =>
    messageOf({ id: 'chatcmpl-1', model: 'm', choices: [{ index: 0, message: said, finish_reason }] }, USAGE, 'c')

  test('with thoughts, text and calls', () => {
    const { content, ...rest } = message(
      {
        content: 'I look.',
        reasoning_content: 'hm',
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } },
          { id: 'b', type: 'function', function: { name: 'g', arguments: '' } },
          { id: 'c', type: 'function', function: { name: 'h', arguments: '{broken' } },
        ],
      },
      'tool_calls',
    )
    expect(content).toMatchObject([
      { type: 'thinking', thinking: 'hm' },
      { type: 'text', text: 'I look.' },
      { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } },
      { type: 'tool_use', id: 'b', name: 'g', input: {} },
      { type: 'tool_use', id: 'c', name: 'h', input: { arguments: '{broken' } },
    ])
    expect(rest).toMatchObject({ type: 'message', stop_reason: 'tool_use', usage: { input_tokens: 7 } })
  })

  test('a refusal', () => {
    expect(message({ content: null, refusal: 'No.' })).toMatchObject({
      content: [{ type: 'text', text: 'No.' }],
      stop_reason: 'refusal',
    })
  })
})

describe("reading along in Anthropic's own stream", () => {
  test.each(['plain', 'tools', 'thinking'])('%s: every byte passes, and what counts is known', (name) => {
    const bytes = fixture(`anthropic/${name}.sse`)
    const observer = new MessagesObserver()
    const passed: Buffer[] = []
    for (let at = 0; at < bytes.length; at += 7)
      passed.push(observer.push(bytes.subarray(at, at + 7)) ?? Buffer.alloc(0))
    expect(Buffer.concat(passed).equals(bytes)).toBe(true)
    expect(observer).toMatchObject({ done: true, speaks: true, error: null, id: expect.stringMatching(/^msg_/) })
    expect(observer.finishReason).toBe(name === 'tools' ? 'tool_calls' : 'stop')
    expect(observer.usage?.completionTokens).toBeGreaterThan(0)
    expect(observer.isComplete()).toBe(true)
  })

  test('an error is seen, before and after the first words', () => {
    for (const name of ['error-first', 'error-later']) {
      const observer = new MessagesObserver()
      observer.push(fixture(`anthropic/${name}.sse`))
      expect(observer.error).toMatchObject({ type: expect.stringMatching(/_error$/) })
      expect(observer.isComplete()).toBe(false)
    }
  })
})

describe('a stop sequence that ended the answer', () => {
  const choice = { index: 0, message: { role: 'assistant', content: 'One' }, finish_reason: 'stop' }
  const whole = (more: object, stops: string[]) => {
    const { stop_reason, stop_sequence } = messageOf({ choices: [{ ...choice, ...more }] }, USAGE, 'c', stops)
    return [stop_reason, stop_sequence]
  }
  const streamed = async (more: object, stops: string[]) => {
    const finishReason = () => ('finish_reason' in more ? String(more.finish_reason) : 'stop')
    const stream = new MessageStream({ candidate: 'c', promptTokens: 1, usage: () => USAGE, finishReason, stops })
    const chunks = [
      { index: 0, delta: { content: 'One' }, finish_reason: null },
      { index: 0, delta: {}, finish_reason: 'stop', ...more },
    ]
    const parts = chunks.map((one) => stream.push(frame({ id: 'x', model: 'm', choices: [one] })))
    const events = [...parts, stream.end()].map((part) => part?.toString() ?? '').join('')
    const { stop_reason, stop_sequence } = await accumulated(events)
    return [stop_reason, stop_sequence]
  }

  test.each<[string, object, string[], [string, string | null]]>([
    ['vLLM names it', { stop_reason: 'END' }, ['a', 'END'], ['stop_sequence', 'END']],
    ['SGLang names it', { matched_stop: 'END' }, ['END'], ['stop_sequence', 'END']],
    ['OpenRouter tells of the only one', { native_finish_reason: 'stop_sequence' }, ['END'], ['stop_sequence', 'END']],
    ['of several, which one is not known', { native_finish_reason: 'stop_sequence' }, ['a', 'b'], ['end_turn', null]],
    ['the id of a token is none', { stop_reason: 128_009, matched_stop: 2 }, ['END'], ['end_turn', null]],
    ['a word that nobody asked to stop at', { stop_reason: 'END' }, ['a'], ['end_turn', null]],
    ['nothing is told', {}, ['END'], ['end_turn', null]],
    ['the answer was cut', { stop_reason: 'END', finish_reason: 'length' }, ['END'], ['max_tokens', null]],
  ])('%s', async (_, more, stops, expected) => {
    expect(whole(more, stops)).toEqual(expected)
    expect(await streamed(more, stops)).toEqual(expected)
  })
})
