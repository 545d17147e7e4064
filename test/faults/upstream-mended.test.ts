import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openai } from '../support/clients.ts'
import type { RunningGateway } from '../support/gateway.ts'
import { frames, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import { chunkOf, completionBody, type Script, type Upstream } from '../support/upstream.ts'

/**
 * What servers tell otherwise than OpenAI does, as reported of other gateways (owner/repo#n): the official SDKs read
 * all of it all the same, or the next candidate answers.
 */

let both: OddAndGood
let odd: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  both = await startOddAndGood()
  ;({ odd, gateway } = both)
}, 60_000)
afterAll(() => both?.close())

const sse =
  (...events: unknown[]): Script =>
  (exchange) =>
    exchange.reply(200, `${frames(events)}data: [DONE]\n\n`, { 'content-type': 'text/event-stream' })
const plain =
  (message: object, finish_reason: string, more: object = {}): Script =>
  (exchange) =>
    exchange.reply(200, {
      ...completionBody(''),
      choices: [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason, ...more }],
    })

const tools = ['look', 'find'].map((name) => ({ type: 'function' as const, function: { name } }))
const asked = { model: 'auto', messages: [{ role: 'user' as const, content: 'Hi' }], tools }
const call = (fields: object, name = 'look', args: unknown = '{"at":1}') => ({
  id: 'call_1',
  type: 'function',
  function: { name, arguments: args },
  ...fields,
})

interface Read {
  calls: { id: string; name: string; args: unknown }[]
  end: string | null | undefined
  text: string
}

async function read(stream: boolean, more: object = {}): Promise<Read> {
  const { completions } = openai(gateway, { maxRetries: 0 }).chat
  // The SDK itself puts the pieces of a stream together.
  const whole = stream
    ? await completions.stream({ ...asked, ...more }).finalChatCompletion()
    : await completions.create({ ...asked, ...more })
  const [choice] = whole.choices
  return {
    calls: (choice?.message.tool_calls ?? []).flatMap((made) =>
      made.type === 'function'
        ? [{ id: made.id, name: made.function.name, args: JSON.parse(made.function.arguments) }]
        : [],
    ),
    end: choice?.finish_reason,
    text: choice?.message.content ?? '',
  }
}

describe('tool calls', () => {
  const one = [{ id: 'call_1', name: 'look', args: { at: 1 } }]
  const two = [...one, { id: 'call_2', name: 'find', args: {} }]
  const other = call({ id: 'call_2' }, 'find', '{}')
  const cases: [what: string, stream: boolean, Script, Read['calls']][] = [
    ['an end that says stop (Blaizzy/mlx-vlm#990)', false, plain({ tool_calls: [call({})] }, 'stop'), one],
    [
      'an end that says stop (googleapis/python-genai#2868, BerriAI/litellm#21041)',
      true,
      sse(chunkOf({ tool_calls: [call({ index: 0 })] }), chunkOf({}, 'stop')),
      one,
    ],
    [
      'all in one chunk (BerriAI/litellm#35663)',
      true,
      sse(chunkOf({ role: 'assistant', tool_calls: [call({ index: 0 })] }, 'stop')),
      one,
    ],
    ['words of its own for the end', false, plain({ tool_calls: [call({})] }, 'tool_use'), one],
    [
      'arguments as an object (ggml-org/llama.cpp#20198)',
      false,
      plain({ tool_calls: [call({}, 'look', { at: 1 })] }, 'tool_calls'),
      one,
    ],
    [
      'arguments as an object (huggingface/text-generation-inference#2954)',
      true,
      sse(chunkOf({ tool_calls: [call({ index: 0 }, 'look', { at: 1 })] }), chunkOf({}, 'tool_calls')),
      one,
    ],
    [
      'several at one index (BerriAI/litellm#37792)',
      true,
      sse(
        chunkOf({ tool_calls: [call({ index: 0 })] }),
        chunkOf({ tool_calls: [{ ...other, index: 0 }] }),
        chunkOf({}, 'tool_calls'),
      ),
      two,
    ],
    [
      'in pieces without an index, one call after the other',
      true,
      sse(
        chunkOf({ tool_calls: [call({}, 'look', '{"at"')] }),
        chunkOf({ tool_calls: [{ function: { arguments: ':1}' } }] }),
        chunkOf({ tool_calls: [other] }),
        chunkOf({}, 'stop'),
      ),
      two,
    ],
  ]
  test.each(cases)('%s', async (_, stream, script, calls) => {
    odd.play(script)
    expect(await read(stream)).toMatchObject({ calls, end: 'tool_calls' })
  })

  test.each([true, false])('calls without an id get one each (stream: %s)', async (stream) => {
    const [first, second] = [call({ index: 0, id: '' }), { ...other, index: 1, id: null }]
    odd.play(
      stream
        ? sse(chunkOf({ tool_calls: [first] }), chunkOf({ tool_calls: [second] }), chunkOf({}, 'stop'))
        : plain({ tool_calls: [first, second] }, 'stop'),
    )
    const { calls, end } = await read(stream)
    expect(calls.map(({ name }) => name)).toEqual(['look', 'find'])
    expect(new Set(calls.map(({ id }) => /^call_\w+$/.test(id) && id)).size).toBe(2)
    expect(end).toBe('tool_calls')
  })

  test('an id that is told again with each piece is one call', async () => {
    odd.play(
      sse(
        chunkOf({ tool_calls: [call({ index: 0 }, 'look', '{"at"')] }),
        chunkOf({ tool_calls: [call({ index: 0 }, '', ':1}')] }),
        chunkOf({}, 'tool_calls'),
      ),
    )
    expect(await read(true)).toMatchObject({ calls: one, end: 'tool_calls' })
  })

  test('where a function was forced, OpenAI itself says stop', async () => {
    odd.play(plain({ tool_calls: [call({})] }, 'stop'))
    const { end } = await read(false, { tool_choice: { type: 'function', function: { name: 'look' } } })
    expect(end).toBe('stop')
  })

  test('told by another endpoint: tool_use, each block once (maximhq/bifrost#6123, BerriAI/litellm#37273)', async () => {
    odd.play(sse(chunkOf({ content: 'So' }), chunkOf({ tool_calls: [call({ index: 0 })] }), chunkOf({}, 'stop')))
    const stream = new Anthropic({ baseURL: gateway.url, apiKey: gateway.key, maxRetries: 0 }).messages.stream({
      model: 'auto',
      max_tokens: 100,
      messages: [{ role: 'user', content: 'Hi' }],
      tools: [{ name: 'look', input_schema: { type: 'object' } }],
    })
    const stops: number[] = []
    stream.on('streamEvent', (event) => void (event.type === 'content_block_stop' && stops.push(event.index)))
    const { stop_reason: reason, content } = await stream.finalMessage()
    expect(reason).toBe('tool_use')
    expect(content.map(({ type }) => type)).toEqual(['text', 'tool_use'])
    expect(stops).toEqual([0, 1])
  })
})

describe('ends', () => {
  test.each([
    // zeitlings/ayai-gpt-nexus#2, genkit-ai/genkit#6259, vespa-engine/vespa#33327
    ['endturn', 'stop'],
    ['STOP', 'stop'],
    ['eos', 'stop'],
    ['MAX_TOKENS', 'length'],
    ['model_context_window_exceeded', 'length'],
    ['SAFETY', 'content_filter'],
    ['sensitive', 'content_filter'],
  ])('%s is %s', async (word, end) => {
    odd.play(plain({ content: 'odd' }, word))
    expect(await read(false)).toMatchObject({ text: 'odd', end })
    odd.play(sse(chunkOf({ content: 'odd' }), chunkOf({}, word)))
    expect(await read(true)).toMatchObject({ text: 'odd', end })
  })

  test.each(['error', 'network_error', 'insufficient_system_resource'])(
    '%s is none: the next answers',
    async (word) => {
      // maximhq/bifrost#5425: half an answer, and no error beside it.
      odd.play(plain({ content: '{"events": [' }, word))
      expect(await read(false)).toMatchObject({ text: 'good' })
    },
  )

  test.each([
    ['error', chunkOf({}, 'error')],
    // diegosouzapw/OmniRoute#8210
    ['an error without choices', { ...chunkOf({}), choices: [], error: { code: 502, message: 'no worker' } }],
  ])('a stream that ends with %s is no answer', async (_, last) => {
    odd.play(sse(chunkOf({ content: 'odd' }), last))
    // The next one's, unless something has gone to the client already.
    const got = await read(true).then(
      ({ text }) => text,
      () => 'an error',
    )
    expect(['good', 'an error']).toContain(got)
  })
})
