import { brotliCompressSync, deflateRawSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { complete, openai } from '../support/clients.ts'
import type { RunningGateway } from '../support/gateway.ts'
import { answering, frames, type OddAndGood, startOddAndGood } from '../support/odd-and-good.ts'
import { chunkOf, completionBody, type Script, streamEvents, type Upstream, usageChunk } from '../support/upstream.ts'

/**
 * What servers are known to send, beyond what the emulators hold: one candidate sends it, the next one is well. Either
 * the client gets the whole of it, or the other's answer.
 */

let both: OddAndGood
let odd: Upstream
let gateway: RunningGateway
beforeAll(async () => {
  both = await startOddAndGood()
  ;({ odd, gateway } = both)
}, 60_000)
afterAll(() => both?.close())

const body =
  (bytes: string | Buffer, headers: Record<string, string> = {}, status = 200): Script =>
  (exchange) => {
    exchange.head(status, { ...headers, 'content-length': String(Buffer.byteLength(bytes)) })
    exchange.raw(bytes)
  }

const sse = (text: string, headers: Record<string, string> = {}) =>
  body(text, { 'content-type': 'text/event-stream', ...headers })

/** What a client reads, by the official SDK, and which candidate it was. */
async function read(stream: boolean): Promise<{ text: string; model: string | null }> {
  const asked = { model: 'auto', messages: [{ role: 'user' as const, content: 'Hi' }] }
  const { completions } = openai(gateway, { maxRetries: 0 }).chat
  if (!stream) {
    const { data, response } = await completions.create(asked).withResponse()
    return { text: data.choices[0]?.message.content ?? '', model: response.headers.get('x-router-model') }
  }
  const { data, response } = await completions.create({ ...asked, stream: true }).withResponse()
  let text = ''
  let ended = false
  for await (const { choices } of data) {
    // As they come: a chunk without choices is passed on.
    const [choice] = choices ?? []
    text += choice?.delta?.content ?? ''
    ended ||= typeof choice?.finish_reason === 'string' && choice.finish_reason.length > 0
  }
  if (!ended) throw new Error('an answer without an end')
  return { text, model: response.headers.get('x-router-model') }
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const JSON_TYPE = { 'content-type': 'application/json' }
const whole = json(completionBody('odd'))
const events = frames(streamEvents(['odd']))
const DONE = 'data: [DONE]\n\n'

describe('answers in odd clothes are whole', () => {
  const plain: Record<string, Script> = {
    'gzip, unasked': body(gzipSync(whole), { ...JSON_TYPE, 'content-encoding': 'gzip' }),
    'brotli, unasked': body(brotliCompressSync(whole), { ...JSON_TYPE, 'content-encoding': 'br' }),
    'deflate without its header': body(deflateRawSync(whole), { ...JSON_TYPE, 'content-encoding': 'deflate' }),
    'a coding that is none': body(whole, { ...JSON_TYPE, 'content-encoding': 'utf-8' }),
    'a byte-order mark': body(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), whole]), JSON_TYPE),
    'labelled as text': body(whole, { 'content-type': 'text/plain' }),
    'no label': body(whole),
    'white space first (a proxy that keeps the connection)': body(
      Buffer.concat([Buffer.from('\n \n\n'), whole]),
      JSON_TYPE,
    ),
    'error: null beside it': body(json({ ...completionBody('odd'), error: null }), JSON_TYPE),
    'error: {} beside it': body(json({ ...completionBody('odd'), error: {} }), JSON_TYPE),
    'usage that is null': body(json({ ...completionBody('odd'), usage: null }), JSON_TYPE),
    'usage with nulls': body(
      json(completionBody('odd', { usage: { prompt_tokens: 1, completion_tokens: null } })),
      JSON_TYPE,
    ),
    events: sse(events + DONE),
  }
  test.each(Object.entries(plain))('%s', async (_, script) => {
    odd.play(script)
    expect(await read(false)).toEqual({ text: 'odd', model: 'odd' })
  })

  const chunks = streamEvents(['odd'])
  const streams: Record<string, Script> = {
    CRLF: sse((events + DONE).replaceAll('\n', '\r\n')),
    'data: without a space': sse((events + DONE).replaceAll('data: ', 'data:')),
    'event names, ids and retry': sse(
      `retry: 3000\n\n${(events + DONE).replaceAll('data: {', 'id: 1\nevent: message\ndata: {')}`,
    ),
    'several lines of data': sse(
      chunks.map((chunk) => `data: ${JSON.stringify(chunk, null, 1).replaceAll('\n', '\ndata: ')}\n\n`).join('') + DONE,
    ),
    'no [DONE]': sse(events),
    'no last line end': sse(events + DONE.trimEnd()),
    'bytes after [DONE]': sse(`${events}${DONE}: bye\n\ndata: {"x":1}\n\n`),
    'gzip, unasked': body(gzipSync(events + DONE), { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' }),
    'labelled as JSON': sse(events + DONE, JSON_TYPE),
    'labelled as a page': sse(events + DONE, { 'content-type': 'text/html' }),
    'chunks without choices first (Azure)': sse(frames([{ choices: [], prompt_filter_results: [{}] }]) + events + DONE),
    'a chunk without the field choices': sse(frames([{ object: 'ping' }]) + events + DONE),
    'choices: null at the end': sse(frames([...chunks, { ...usageChunk, choices: null }]) + DONE),
    'usage in every chunk': sse(frames(chunks.map((chunk) => ({ ...chunk, usage: usageChunk.usage }))) + DONE),
    'usage in the last choice': sse(
      frames([chunkOf({ content: 'odd' }), { ...chunkOf({}, 'stop'), usage: usageChunk.usage }]) + DONE,
    ),
    'usage after [DONE]': sse(`${frames(chunks.slice(0, -1))}${DONE}${frames([usageChunk])}`),
    'finish_reason with the last text': sse(
      frames([chunkOf({ content: 'o' }), chunkOf({ content: 'dd' }, 'stop')]) + DONE,
    ),
    'finish_reason: "" until the end': sse(frames([chunkOf({ content: 'odd' }, ''), chunkOf({}, 'stop')]) + DONE),
    'a word of its own for the end': sse(frames([chunkOf({ content: 'odd' }, null), chunkOf({}, 'eos')]) + DONE),
    'delta: null at the end': sse(
      frames([
        chunkOf({ content: 'odd' }),
        { ...chunkOf({}), choices: [{ index: 0, delta: null, finish_reason: 'stop' }] },
      ]) + DONE,
    ),
    'no index': sse(
      frames(
        [chunkOf({ content: 'odd' }), chunkOf({}, 'stop')].map((chunk) => ({
          ...chunk,
          choices: chunk.choices.map(({ index: _, ...rest }) => rest),
        })),
      ) + DONE,
    ),
    'a whole answer, not streamed': body(whole, JSON_TYPE),
    'error: null in each chunk': sse(frames(chunks.map((chunk) => ({ ...chunk, error: null }))) + DONE),
  }
  test.each(Object.entries(streams))('streamed: %s', async (_, script) => {
    odd.play(script)
    expect(await read(true)).toEqual({ text: 'odd', model: 'odd' })
  })
})

describe('what is no answer goes to the next candidate', () => {
  const error = { message: 'It broke.', type: 'server_error', code: 500 }
  const failures: Record<string, Script> = {
    '200 with an error': body(json({ error }), JSON_TYPE),
    '200 with an error in a list': body(
      json([{ error: { code: 503, message: 'x', status: 'UNAVAILABLE' } }]),
      JSON_TYPE,
    ),
    '200 with an error and no choices': body(json({ object: 'error', message: 'x', code: 400 }), JSON_TYPE),
    '200 with a word for success': body(json({ code: 500, msg: '404 NOT_FOUND', success: false }), JSON_TYPE),
    '200 with choices: null': body(
      json({ base_resp: { status_code: 1008, status_msg: 'insufficient balance' }, choices: null }),
      JSON_TYPE,
    ),
    '200 with choices: []': body(json(completionBody('odd', { choices: [] })), JSON_TYPE),
    '200 with a page': body('<html>Sign in</html>', { 'content-type': 'text/html' }),
    '200 with nothing': body('', JSON_TYPE),
    'half an answer': (exchange) => {
      exchange.head(200, { ...JSON_TYPE, 'content-length': String(whole.length) })
      exchange.raw(whole.subarray(0, 40))
      exchange.close()
    },
    'finish_reason: error': body(
      json(
        completionBody('', {
          choices: [{ index: 0, message: { role: 'assistant', content: '' }, finish_reason: 'error', error }],
        }),
      ),
      JSON_TYPE,
    ),
    '404 with a page': body('<html>404</html>', { 'content-type': 'text/html' }, 404),
    '400 in gzip': body(
      gzipSync(json({ error: { message: 'no' } })),
      { ...JSON_TYPE, 'content-encoding': 'gzip' },
      400,
    ),
    '400 of our key': body(
      json([{ error: { code: 400, message: 'API key not valid. Please pass a valid API key.' } }]),
      JSON_TYPE,
      400,
    ),
    '400 of our credit': body(
      json({ error: { message: 'Your credit balance is too low to access the API.' } }),
      JSON_TYPE,
      400,
    ),
    '409': body(json({ error: { message: 'conflict' } }), JSON_TYPE, 409),
    '424': body(json({ error: { message: 'failed dependency' } }), JSON_TYPE, 424),
    '429 until a date': body(json({ error }), { ...JSON_TYPE, 'retry-after': 'Fri, 31 Dec 2100 23:59:59 GMT' }, 429),
    '498': body(json({ error: { message: 'capacity exceeded' } }), JSON_TYPE, 498),
    '520, a page': body('<html>cloudflare</html>', { 'content-type': 'text/html' }, 520),
    '529': body(json({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }), JSON_TYPE, 529),
    'a redirect': body('', { location: 'https://example.com' }, 302),
  }
  test.each(Object.entries(failures))('%s', async (_, script) => {
    odd.play(script)
    expect(await read(false)).toEqual({ text: 'good', model: 'good' })
    expect(await read(true)).toEqual({ text: 'good', model: 'good' })
  })

  const error_ = { message: 'Overloaded', type: 'overloaded_error' }
  const streams: Record<string, Script> = {
    'an error first': sse(frames([{ error: error_ }])),
    'an error event first': sse(`event: error\ndata: ${JSON.stringify({ type: 'error', error: error_ })}\n\n`),
    'a bare error line': sse(`${JSON.stringify({ error: error_ })}\n\n`),
    'comments and an end': sse(': OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n'),
    'a role and an end': sse(frames([chunkOf({ role: 'assistant', content: '' })])),
    '[DONE] at once': sse(DONE),
    nothing: sse(''),
  }
  test.each(Object.entries(streams))('streamed: %s', async (_, script) => {
    odd.play(script)
    expect(await read(true)).toEqual({ text: 'good', model: 'good' })
  })
})

describe('a refusal of a whole conversation is healed', () => {
  const refusing =
    (message: string, when: (messages: { role: string; content: string }[]) => boolean): Script =>
    (exchange) => {
      const { messages } = exchange.json as { messages: { role: string; content: string }[] }
      if (when(messages)) exchange.reply(400, { error: { message, type: 'invalid_request_error', code: 400 } })
      else answering(messages.map(({ role, content }) => `${role}: ${content}`).join(' | '))(exchange)
    }
  const cases: [string, Script, { role: string; content: string }[], string][] = [
    [
      'roles that must alternate',
      refusing('user and assistant messages should alternate', (all) =>
        all.some(({ role }, i) => i > 0 && role === all[i - 1]?.role),
      ),
      [
        { role: 'user', content: 'a' },
        { role: 'user', content: 'b' },
      ],
      'user: a\n\nb',
    ],
    [
      'no system messages',
      refusing('System role not supported', (all) => all.some(({ role }) => role === 'system')),
      [
        { role: 'system', content: 'x' },
        { role: 'user', content: 'a' },
      ],
      'user: x\n\na',
    ],
    [
      'a system message at the beginning',
      refusing('System message must be at the beginning.', (all) =>
        all.some(({ role }, i) => i > 0 && role === 'system'),
      ),
      [
        { role: 'user', content: 'a' },
        { role: 'system', content: 'x' },
      ],
      'system: x | user: a',
    ],
  ]
  test.each(cases)('%s', async (_, script, messages, said) => {
    await both.forget()
    odd.play(script)
    // The other takes it; from then on the first one gets it in its own shape.
    const first = await complete(gateway, { messages })
    expect(first.headers.get('x-router-model')).toBe('good')
    const second = await complete(gateway, { messages })
    expect(second.headers.get('x-router-model')).toBe('odd')
    expect((await second.json()).choices[0].message.content).toBe(said)
  })
})
