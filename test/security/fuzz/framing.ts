import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { messagesEndpoint } from '../../../src/api/messages.ts'
import { responsesEndpoint } from '../../../src/api/responses/endpoint.ts'
import { UnreadableThoughts } from '../../../src/api/responses/unreadable.ts'
import { Seal } from '../../../src/runtime/seal.ts'
import type { Responses } from '../../../src/store/responses.ts'
import type { Emulator } from '../../emulators/emulator.ts'
import { openai } from '../../emulators/openai.ts'
import { fixture } from '../../support/fixtures.ts'
import { type Harness, type Result, startHarness } from '../../support/relay-harness.ts'
import {
  chunkOf,
  type Exchange,
  startUpstream,
  streamEvents,
  type Upstream,
  usageChunk,
} from '../../support/upstream.ts'

/** How the provider's connection ends where a stream is cut. */
const ENDINGS = ['eof', 'reset', 'stall', 'close'] as const
type Ending = (typeof ENDINGS)[number]

export interface Case {
  stream: string
  /** Bytes that come. */
  cut: number
  ending: Ending
  /** Bytes a packet. */
  piece: number
  /** Whether all of it comes in such packets, not just its end. */
  allInPieces: boolean
  /** Whether packets come at different times. */
  slow: boolean
  /** Whether the client asks for usage, so that its event is not taken out. */
  usage: boolean
}

/** Where a client sends what. */
export interface Where {
  baseURL: string
  question: string
}

interface Prepared extends Where {
  /** What the record says of it in the end: the error, or null. */
  noted: Promise<string | null>
}

export type Reader = (playing: Case, where: Where) => Promise<Seen>

/** What a client makes of an answer: all that was said, or the kind of error that it raised. */
export interface Seen {
  said: string
  finish: string | null
  /** Class of the error, or null. */
  error: string | null
}

const sse = (events: readonly unknown[], ends = '\n') =>
  Buffer.from(
    `${events.map((event) => `data: ${JSON.stringify(event)}${ends}${ends}`).join('')}data: [DONE]${ends}${ends}`,
  )

/** Responses as OpenAI streams them. */
const responses = (body: Record<string, unknown>) => {
  const [route] = openai.more as NonNullable<Emulator['more']>
  const events = route?.events({ model: 'gpt-5', input: 'Hi', ...body }) ?? []
  return Buffer.from(events.map(({ event, data }) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join(''))
}

const wrong = (event: ReturnType<typeof chunkOf>, reason: unknown) => ({
  ...event,
  choices: event.choices.map((choice) => ({ ...choice, finish_reason: choice.finish_reason ?? reason })),
})

export type EndpointName = 'chat' | 'responses' | 'messages'

interface Stream {
  kind: 'openai-compatible' | 'anthropic'
  bytes: Buffer
  contentType?: string
  /** The format that the provider streams in, where it is the endpoint's own: its bytes go through. */
  native?: 'responses' | 'messages'
  /** By which the client asks. */
  endpoint?: EndpointName
}

/**
 * Streams of every kind: as recorded, and as servers are known to write them. None has both `id:` and comments: there
 * the Python SDK takes a comment's blank line for an event without data, whoever sends it.
 */
const RECORDED: Record<string, Stream> = {
  plain: { kind: 'openai-compatible', bytes: fixture('openai/plain.sse') },
  tools: { kind: 'openai-compatible', bytes: fixture('openai/tools.sse') },
  crlf: { kind: 'openai-compatible', bytes: sse(streamEvents(['Grüße', ' 世界']), '\r\n') },
  cr: { kind: 'openai-compatible', bytes: sse(streamEvents(['one', ' two']), '\r') },
  comments: {
    kind: 'openai-compatible',
    bytes: Buffer.from(
      `: hello\n\n${sse(streamEvents(['one', ' two', ' three']))
        .toString()
        .replaceAll('\n\n', '\n\n: keep-alive\n\n')
        .replaceAll('data: {', 'event: message\ndata: {')}`,
    ),
  },
  'empty finish reasons': {
    kind: 'openai-compatible',
    bytes: sse(
      streamEvents(['one', ' two']).map((event) =>
        'usage' in event && event.choices.length > 0 ? wrong(event as ReturnType<typeof chunkOf>, '') : event,
      ),
    ),
  },
  'null in words': {
    kind: 'openai-compatible',
    bytes: sse([
      wrong(chunkOf({ content: 'one' }), 'null'),
      wrong(chunkOf({ content: ' two' }), 'null'),
      chunkOf({}, 'stop'),
    ]),
  },
  'no [DONE]': {
    kind: 'openai-compatible',
    bytes: Buffer.from(
      sse(streamEvents(['one', ' two']))
        .toString()
        .replace('data: [DONE]\n\n', ''),
    ),
  },
  'as JSON, with a mark': {
    kind: 'openai-compatible',
    bytes: Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), sse(streamEvents(['one', ' two']))]),
    contentType: 'application/json',
  },
  'usage beside citations': {
    kind: 'openai-compatible',
    bytes: sse([
      chunkOf({ content: 'one' }),
      chunkOf({}, 'stop'),
      { ...usageChunk, citations: ['https://example.com'] },
    ]),
  },
  claude: { kind: 'anthropic', bytes: fixture('anthropic/plain.sse') },
  'claude, tools': { kind: 'anthropic', bytes: fixture('anthropic/tools.sse') },
  'claude, thinking': { kind: 'anthropic', bytes: fixture('anthropic/thinking.sse') },
  'claude, fails later': { kind: 'anthropic', bytes: fixture('anthropic/error-later.sse') },
}

const asked = (
  endpoint: EndpointName,
  names: readonly string[],
  more: Record<string, Stream>,
): Record<string, Stream> =>
  Object.fromEntries(
    [...names.map((name) => [name, RECORDED[name] as Stream] as const), ...Object.entries(more)].map(
      ([name, stream]) => [`${endpoint}: ${name}`, { ...stream, endpoint }],
    ),
  )

const native = (name: string): Stream => ({
  kind: 'anthropic',
  bytes: fixture(`anthropic/${name}.sse`),
  native: 'messages',
})

/** Those of chat completions, and the same and more by the other endpoints. */
export const STREAMS: Readonly<Record<string, Stream>> = {
  ...RECORDED,
  ...asked(
    'responses',
    ['plain', 'tools', 'crlf', 'comments', 'no [DONE]', 'claude, tools', 'claude, thinking', 'claude, fails later'],
    {
      native: { kind: 'openai-compatible', bytes: responses({}), native: 'responses' },
      'native, with comments': {
        kind: 'openai-compatible',
        bytes: Buffer.from(responses({}).toString().replaceAll('\n\n', '\n\n: keep-alive\n\n')),
        native: 'responses',
      },
    },
  ),
  ...asked(
    'messages',
    ['plain', 'tools', 'cr', 'comments', 'empty finish reasons', 'claude, thinking', 'claude, fails later'],
    {
      native: native('plain'),
      'native, tools': native('tools'),
      'native, thinking': native('thinking'),
      'native, fails later': native('error-later'),
    },
  ),
}

/** All cuts of a stream, or a share of them that `random` takes. */
export function casesOf(stream: string, share: number, random: () => number): Case[] {
  const { bytes } = STREAMS[stream]!
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T
  const cases: Case[] = []
  for (let cut = 0; cut <= bytes.length; cut++) {
    // The whole stream, and all but its last bytes, with every ending.
    const endings = cut > bytes.length - 3 ? ENDINGS : random() < share ? [pick(share === 1 ? MOSTLY_FAST : FAST)] : []
    for (const ending of endings) {
      const piece = pick([1, 7, 64, 4096])
      const allInPieces = cut > bytes.length - 3 || random() < 0.05
      cases.push({ stream, cut, ending, piece, allInPieces, slow: random() < 0.1, usage: random() < 0.3 })
    }
  }
  return cases
}

/** A stall costs the whole of its timeout. */
const FAST: readonly Ending[] = ['eof', 'reset', 'reset', 'close']
const MOSTLY_FAST: readonly Ending[] = [...FAST, ...FAST, 'stall']
const IDLE_MS = 250

/** Bytes before a cut that come in pieces: further up, the cuts there have tried that. */
const TAIL = 200

function* packetsOf(bytes: Buffer, { cut, piece, allInPieces }: Case): Generator<Buffer> {
  const split = allInPieces ? 0 : Math.max(0, cut - TAIL)
  if (split > 0) yield bytes.subarray(0, split)
  for (let at = split; at < cut; at += piece) yield bytes.subarray(at, Math.min(cut, at + piece))
}

/** By the provider's kind and the format that it speaks itself. */
type Harnesses = Record<string, Harness>
const harnessOf = ({ kind, native }: Stream) => `${kind} ${native ?? ''}`

const ENDPOINTS = {
  '/v1/messages': messagesEndpoint,
  '/v1/responses': responsesEndpoint({
    // Nothing is kept.
    responses: {} as Responses,
    unreadable: new UnreadableThoughts(),
    seal: new Seal(['a secret of thirty-two characters'], 'responses'),
    isErased: () => false,
    onStoreError: () => {},
  }),
}

/** What marks a request on its way, so that many are under way at once. */
const MARK = /#(\d+)#/

interface UnderWay {
  playing: Case
  noted: PromiseWithResolvers<string | null>
}

/** A scripted provider and the gateway's own forward and relay in front of it. */
export class FramingTarget {
  readonly #upstream: Upstream
  readonly #harnesses: Harnesses
  readonly #underWay = new Map<number, UnderWay>()
  #asked = 0

  private constructor(upstream: Upstream, harnesses: Harnesses) {
    this.#upstream = upstream
    this.#harnesses = harnesses
  }

  static async start(): Promise<FramingTarget> {
    const upstream = await startUpstream((exchange) => target.#play(exchange))
    const harness = ({ kind, native }: Stream) =>
      startHarness({
        origins: [upstream.origin],
        provider: kind === 'anthropic' ? { kind, version: '2023-06-01' } : { kind },
        endpoints: ENDPOINTS,
        ...(native && { apis: [native] }),
        retries: { max_attempts: 1, breaker: { failures: 1_000_000 } },
        timeouts: { first_byte_ms: IDLE_MS, content_idle_ms: IDLE_MS, comments_ms: IDLE_MS },
        onSettled: (result) => target.#settle(result),
      })
    const harnesses: Harnesses = {}
    for (const stream of Object.values(STREAMS)) harnesses[harnessOf(stream)] ??= await harness(stream)
    const target: FramingTarget = new FramingTarget(upstream, harnesses)
    return target
  }

  async #play(exchange: Exchange): Promise<void> {
    const playing = this.#underWay.get(markOf(exchange.request.body))?.playing
    if (!playing) return
    const { ending, slow } = playing
    const { bytes, contentType } = STREAMS[playing.stream]!
    exchange.stream({
      ...(contentType && { 'content-type': contentType }),
      ...(ending === 'close' && { connection: 'close' }),
    })
    let packets = 0
    for (const packet of packetsOf(bytes, playing)) {
      exchange.chunk(packet)
      if (slow && packets++ % 5 === 0) await exchange.sleep(1)
    }
    // What was written goes out before the reset.
    if (ending === 'reset') await exchange.sleep(2)
    if (ending === 'eof') exchange.end()
    else if (ending === 'reset') exchange.reset()
    else if (ending === 'close') exchange.close()
    else await exchange.closed
  }

  #settle({ body, outcome, error }: Result): void {
    const mark = markOf(body)
    this.#underWay.get(mark)?.noted.resolve(outcome ? outcome.error : refusalOf(error))
    this.#underWay.delete(mark)
    // Nobody looks back at tens of thousands.
    for (const { results } of Object.values(this.#harnesses)) results.length = 0
    this.#upstream.requests.length = 0
  }

  /** Where a client sends a question, and what the gateway will have noted of it. */
  prepare(playing: Case): Prepared {
    const mark = this.#asked++
    const noted = Promise.withResolvers<string | null>()
    this.#underWay.set(mark, { playing, noted })
    const harness = this.#harnesses[harnessOf(STREAMS[playing.stream]!)] as Harness
    return { baseURL: harness.url, question: `#${mark}#`, noted: noted.promise }
  }

  /** @throws Error where the SDK saw anything but the whole answer or an error, or the record says otherwise */
  async run(playing: Case, reader: Reader = askNode): Promise<void> {
    const { noted, ...where } = this.prepare(playing)
    const seen = await reader(playing, where)
    check(playing, seen, await noted, WHOLE.get(playing.stream) ?? null)
  }

  /** Many at once: most of a cut's time is waiting. */
  async runAll(cases: readonly Case[], onBroken: (error: Error) => void, reader?: Reader, atOnce = 12): Promise<void> {
    const left = cases[Symbol.iterator]()
    const lane = async () => {
      for (const playing of left) await this.run(playing, reader).catch(onBroken)
    }
    await Promise.all(Array.from({ length: atOnce }, lane))
  }

  /** What each stream says when all of it comes. */
  async learn(): Promise<void> {
    for (const [stream, { bytes }] of Object.entries(STREAMS)) {
      if (stream.endsWith('fails later')) continue
      const whole: Case = {
        stream,
        cut: bytes.length,
        ending: 'eof',
        piece: 4096,
        allInPieces: true,
        slow: false,
        usage: true,
      }
      // On a busy machine the first event may come after its timeout.
      let seen = await this.#seen(whole)
      for (let tries = 1; seen.error !== null && tries < 5; tries++) seen = await this.#seen(whole)
      if (seen.error !== null) throw new Error(`${stream}: ${seen.error}`)
      WHOLE.set(stream, seen)
    }
  }

  async #seen(playing: Case): Promise<Seen> {
    const { noted, ...where } = this.prepare(playing)
    const seen = await askNode(playing, where)
    const error = await noted
    return { ...seen, error: seen.error ?? error }
  }

  async stop(): Promise<void> {
    await Promise.all(Object.values(this.#harnesses).map((harness) => harness.close()))
    await this.#upstream.close()
  }
}

const WHOLE = new Map<string, Seen>()

const refusalOf = (error: Result['error']) => (error ? (error.status === 504 ? 'timeout' : 'refused') : null)

const markOf = (body: Buffer) => Number(MARK.exec(body.toString('utf8'))?.[1])

/** The errors that a program catches as the SDK's own: Node's adds none for a connection that breaks in a stream. */
const OWN =
  /^(?:APIError|response\.failed|APIConnectionError|InternalServerError|BadGatewayError|\w*StatusError|APITimeoutError|TypeError: terminated)$/

/** How much of a stream came, and ended as it should: on a busy machine its timeout may have been first. */
const isWhole = ({ stream, cut, ending }: Case, noted: string | null) =>
  cut === STREAMS[stream]!.bytes.length && (ending === 'eof' || ending === 'close') && noted !== 'timeout'

function check(playing: Case, seen: Seen, noted: string | null, whole: Seen | null): void {
  const tell = (what: string) => new Error(`${what}: ${JSON.stringify({ playing, seen, noted })}`)
  if (seen.error !== null) {
    if (whole !== null && isWhole(playing, noted)) throw tell('a whole answer told as broken')
    if (!OWN.test(seen.error)) throw tell('not an error of the SDK')
    if (noted === null) throw tell('the client saw an error, the record none')
    return
  }
  if (whole === null || seen.said !== whole.said || seen.finish !== whole.finish)
    throw tell('a torn answer, and no error')
  if (noted !== null) throw tell('the client saw the whole answer, the record an error')
}

export const endpointOf = (stream: string): EndpointName => STREAMS[stream]?.endpoint ?? 'chat'

async function askNode(playing: Case, where: Where): Promise<Seen> {
  const seen: Seen = { said: '', finish: null, error: null }
  const read = { chat: readChat, responses: readResponses, messages: readMessages }[endpointOf(playing.stream)]
  try {
    await read(where, playing, seen)
  } catch (error) {
    if (error instanceof OpenAI.APIError || error instanceof Anthropic.APIError) seen.error = 'APIError'
    else seen.error = error instanceof TypeError ? `TypeError: ${error.message}` : (error as Error).name
  }
  return seen
}

const messagesOf = (content: string) => [{ role: 'user' as const, content }]

async function readChat({ baseURL, question }: Where, { usage }: Case, seen: Seen): Promise<void> {
  const stream = await new OpenAI({ baseURL, apiKey: 'client-key', maxRetries: 0 }).chat.completions.create({
    model: 'auto',
    messages: messagesOf(question),
    stream: true,
    ...(usage && { stream_options: { include_usage: true } }),
  })
  for await (const { choices } of stream) {
    for (const { delta, finish_reason } of choices) {
      seen.said += delta.content ?? ''
      for (const call of delta.tool_calls ?? [])
        seen.said += `${call.function?.name ?? ''}${call.function?.arguments ?? ''}`
      if (finish_reason !== null && !['', 'null'].includes(finish_reason)) seen.finish = finish_reason
    }
  }
}

async function readResponses({ baseURL, question }: Where, _: Case, seen: Seen): Promise<void> {
  const stream = await new OpenAI({ baseURL, apiKey: 'client-key', maxRetries: 0 }).responses.create({
    model: 'auto',
    input: question,
    store: false,
    stream: true,
  })
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta' || event.type === 'response.function_call_arguments.delta')
      seen.said += event.delta
    if (event.type === 'response.completed' || event.type === 'response.incomplete') seen.finish = event.type
    if (event.type === 'response.failed') seen.error = event.type
  }
}

async function readMessages({ baseURL, question }: Where, _: Case, seen: Seen): Promise<void> {
  const client = new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ''), apiKey: 'client-key', maxRetries: 0 })
  const messages = messagesOf(question)
  const stream = await client.messages.create({ model: 'auto', max_tokens: 99, messages, stream: true })
  let reason: string | null = null
  for await (const event of stream) {
    if (event.type === 'content_block_delta') {
      const { delta } = event
      if (delta.type === 'text_delta') seen.said += delta.text
      if (delta.type === 'input_json_delta') seen.said += delta.partial_json
    }
    if (event.type === 'message_delta') reason = event.delta.stop_reason
    if (event.type === 'message_stop') seen.finish = reason
  }
}
