import { setImmediate as nextTurn } from 'node:timers/promises'
import { GatewayError } from '../../errors.ts'
import type { ChatMessage, ChatRequest, NativeRequest } from '../../openai/chat.ts'
import { completionAsStream } from '../../openai/convert-stream.ts'
import { parseJson, withoutMark } from '../../openai/error.ts'
import { isObject } from '../../openai/is-object.ts'
import { converted, LARGE_BYTES } from '../../openai/parse-thread.ts'
import { SseObserver } from '../../openai/sse-observer.ts'
import type { PlainFacts, StreamObserver } from '../../openai/stream-observer.ts'
import { inStep } from '../../runtime/cohort.ts'
import { FairTimer } from '../../runtime/fair-timer.ts'
import { inOwnMemory } from '../../runtime/own-memory.ts'
import type { Failure } from '../forward/failure.ts'
import { MAX_ERROR_BYTES, readAll } from '../http/read-all.ts'
import { UpstreamError } from '../provider.ts'
import type { AnswerHead, Forwarded, PlainAnswer, StreamAnswer } from './answer.ts'
import {
  bodyFailure,
  errorFailure,
  notAnAnswer,
  type PlainTold,
  plainChat,
  protocol,
  statusFailure,
} from './read-plain.ts'
import { firstData, shapeOf } from './shape.ts'

/** A plain answer larger than this is refused; images and audio in base64 fit. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
/** Before the first event that says something: role, comments, an image at most. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024

type Read<Answer> = { answer: Answer } | { failure: Failure }
type Body = AsyncIterable<Uint8Array>

/** Smaller answers are not worth counting. */
const UNCOUNTED_BYTES = 64 * 1024

export interface ReadControl extends Pick<StreamAnswer, 'abort' | 'release'> {
  /** What is large takes its turn. */
  tenant: string
  /** Bytes have come, though nothing may have been said yet. */
  onBytes(): void
  /** Bytes are kept in memory until the request ends. @returns why they may not be */
  hold?(bytes: number): GatewayError | null
  /** Milliseconds after which a stream that is alive but says nothing is passed on as it is; none = never. */
  quietMs: number | null
  /** Milliseconds that a stream which has ended and said nothing has to say something yet, or goodbye. */
  endingMs: number
}

/**
 * Reads as much of an answer as tells whether it is one: all of a plain answer, a stream up to the first event that
 * says something, or for `quietMs`. An error there has been seen by nobody yet. The body's first bytes decide what it
 * is, since labels lie.
 *
 * @throws UpstreamError
 */
export async function readAnswer(head: AnswerHead, body: Body, control: ReadControl): Promise<Read<Forwarded>> {
  const { status, headers, request } = head
  if (status < 200 || status >= 300) return { failure: statusFailure(status, headers, await readErrorBody(body)) }
  if (!request.stream) return readPlain(head, body, control)
  const { shape, body: all } = await shapeOf(body)
  const { native } = request
  if (shape === 'events') {
    const observer = native?.observe() ?? new SseObserver(observing(request))
    return peek(asEvents(head), all, observer, control)
  }
  const plain = native ? { failure: protocol('the provider did not stream') } : await readPlain(head, all, control)
  if ('failure' in plain) {
    return plain.failure.kind === 'protocol' ? { failure: protocol('the provider did not stream') } : plain
  }
  return { answer: await streamOf(plain.answer, control) }
}

/** The official label, whatever the provider wrote. */
function asEvents(head: AnswerHead): AnswerHead {
  if (/^text\/event-stream/i.test(head.headers['content-type'] ?? '')) return head
  return { ...head, headers: { ...head.headers, 'content-type': 'text/event-stream; charset=utf-8' } }
}

/** A whole answer where a stream was asked for. A large one is read on piece by piece, as any stream. */
async function streamOf(
  { body, candidate, status, headers, attempts, upstreamMs, request }: PlainAnswer,
  { abort, release, tenant }: Pick<StreamAnswer, 'abort' | 'release'> & Pick<ReadControl, 'tenant'>,
): Promise<StreamAnswer> {
  const observer = new SseObserver(observing(request))
  const { body: stream } = await converted(completionAsStream, body, null, tenant)
  const bytes = observer.push(stream.subarray(0, PIECE_BYTES))
  const events = asEvents({ candidate, status, headers, attempts, upstreamMs, request })
  const rest = pieces(stream.subarray(PIECE_BYTES))
  return { ...events, stream: true, head: bytes ? [bytes] : [], rest, observer, abort, release }
}

const PIECE_BYTES = 256 * 1024

async function* pieces(stream: Buffer): AsyncGenerator<Uint8Array, undefined> {
  for (let at = 0; at < stream.length; at += PIECE_BYTES) {
    // Else a client that reads at once would be the only one served meanwhile.
    await nextTurn()
    yield stream.subarray(at, at + PIECE_BYTES)
  }
}

const NOTHING: AsyncIterator<Uint8Array> = { next: async () => ({ value: undefined, done: true }) }

async function peek(
  common: AnswerHead,
  body: Body,
  observer: StreamObserver,
  control: ReadControl,
): Promise<Read<StreamAnswer>> {
  const { quietMs, endingMs, abort, release } = control
  const { request } = common
  const rest = body[Symbol.asyncIterator]()
  const head: Buffer[] = []
  const patience = new Patience(quietMs)
  const count = counter(control)
  const answerOf = (tail: AsyncIterator<Uint8Array>): StreamAnswer => ({
    ...common,
    stream: true,
    head,
    rest: tail,
    observer,
    abort,
    release,
  })
  const emptyOf = (tail: AsyncIterator<Uint8Array>) => ({ ...answerOf(tail), isEmpty: mayBeEmpty(request) })
  const isEnded = () => observer.error === null && observer.isComplete(request.body.n ?? 1)
  let size = 0
  try {
    while (!observer.speaks && !observer.done && observer.error === null && size <= MAX_HEAD_BYTES) {
      if (isEnded()) {
        if (!mayBeEmpty(request)) break
        // Some servers tell an end with each chunk: what they say comes behind the first.
        patience.endIn(endingMs)
      }
      const next = rest.next()
      const result = await patience.orSooner(next)
      if (result === null) {
        if (!isEnded()) return { answer: answerOf(resume(next, rest)) }
        next.catch(() => {})
        abort(new UpstreamError('aborted', 'no goodbye came'))
        return { answer: emptyOf(NOTHING) }
      }
      const { value, done } = result
      const bytes = done ? observer.end() : observer.push(value)
      if (bytes) head.push(bytes)
      if (done) break
      count(value.length)
      size += value.length
    }
  } catch (error) {
    if (error instanceof GatewayError) await rest.return?.()
    // Nothing is missing but its goodbye.
    const isWhole = error instanceof UpstreamError && error.fault !== 'aborted' && isEnded()
    if (!isWhole) throw error
    return { answer: emptyOf(NOTHING) }
  } finally {
    patience.end()
  }
  if (observer.speaks && observer.error === null) return { answer: answerOf(rest) }
  if (observer.error === null && observer.finishReason !== null) return { answer: emptyOf(rest) }
  await rest.return?.()
  if (observer.error !== null) return { failure: errorFailure(observer.error) }
  if (size > MAX_HEAD_BYTES) return { failure: protocol('the provider sent more than we take') }
  return { failure: protocol('the provider ended its answer before it said anything') }
}

/** Patience with a stream that has begun and says nothing; without limit where none is given. */
class Patience {
  readonly #over = Promise.withResolvers<null>()
  #timer: FairTimer | undefined
  #isEnding = false

  constructor(ms: number | null) {
    if (ms !== null) this.#start(ms)
  }

  /** From the first call on this is the limit. */
  endIn(ms: number): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.end()
    this.#start(ms)
  }

  /** Null when patience ends first. */
  orSooner<T>(next: Promise<T>): Promise<T | null> {
    return this.#timer === undefined ? next : Promise.race([next, this.#over.promise])
  }

  end(): void {
    this.#timer?.clear()
  }

  #start(ms: number): void {
    this.#timer = new FairTimer(ms, () => this.#over.resolve(null))
  }
}

/** An iterator whose next result is already asked for. */
function resume<T>(asked: Promise<IteratorResult<T>>, rest: AsyncIterator<T>): AsyncIterator<T> {
  let first: Promise<IteratorResult<T>> | null = asked
  // Whoever reads it hears of it; until then nobody does.
  asked.catch(() => {})
  return {
    next: () => {
      const next = first ?? rest.next()
      first = null
      return next
    },
    return: async () => (await rest.return?.()) ?? { value: undefined, done: true },
  }
}

/** Tells of bytes, and counts those that are kept. @throws GatewayError where too much is kept */
function counter({ onBytes, hold }: ReadControl): (bytes: number) => void {
  let uncounted = 0
  return (bytes) => {
    onBytes()
    uncounted += bytes
    if (uncounted < UNCOUNTED_BYTES) return
    const refused = hold?.(uncounted)
    uncounted = 0
    if (refused) throw refused
  }
}

async function readPlain(common: AnswerHead, body: Body, control: ReadControl): Promise<Read<PlainAnswer>> {
  const raw = withoutMark(await readAll(body, MAX_BODY_BYTES, counter(control)))
  await new Promise<void>(inStep)
  const { native } = common.request
  const read = await (native ? readNative(raw, native, control) : readChat(raw, common.request, control))
  if ('failure' in read.told) return { failure: read.told.failure }
  const { facts, isEmpty } = read.told
  return { answer: { ...asJson(common), stream: false, body: read.body, ...facts, isEmpty } }
}

interface ReadBody {
  body: Buffer
  told: PlainTold
}

async function readChat(raw: Buffer, request: ChatRequest, { tenant }: ReadControl): Promise<ReadBody> {
  const { body, told } = await converted(plainChat, raw, askedBy(request), tenant)
  if ('failure' in told) return { body, told: { failure: ofThread(told.failure) } }
  return { body, told: { ...told, isEmpty: told.isEmpty && mayBeEmpty(request) } }
}

/** Bytes that are copied between threads are a buffer no longer. */
const ofThread = (failure: Failure): Failure =>
  failure.kind === 'status' ? { ...failure, body: Buffer.from(failure.body) } : failure

async function readNative(raw: Buffer, native: NativeRequest, { tenant }: ReadControl): Promise<ReadBody> {
  if (raw.length > LARGE_BYTES) {
    const { facts, error, body } = await native.readLarge(inOwnMemory(raw), tenant)
    return { body, told: error === undefined ? toldBy(facts, native) : { failure: errorFailure(error) } }
  }
  const json = parseJson(raw)
  const failure = bodyFailure(json)
  return { body: raw, told: failure ? { failure } : toldBy(native.read(json), native) }
}

const toldBy = (facts: PlainFacts | null, { api }: NativeRequest): PlainTold =>
  facts ? { facts, isEmpty: false } : { failure: notAnAnswer(api) }

const observing = (request: ChatRequest) => ({ dropUsage: !request.wantsUsage, ...askedBy(request) })

const askedBy = ({ body, thoughtsAs }: ChatRequest) => ({
  thoughtsAs,
  isSingle: (body.n ?? 1) === 1,
  toolNames: namesOf(body.tools ?? []),
  isForced: isObject(body.tool_choice),
  tools: (body.tools?.length ?? 0) > 0 && !isObject(body.functions),
})

const namesOf = (tools: readonly unknown[]): ReadonlySet<string> =>
  new Set(tools.flatMap((tool) => (isObject(tool) && isObject(tool.function) ? [String(tool.function.name)] : [])))

/**
 * Whether an answer of nothing may be none: where it may end at once it is whole. Behind what tools returned models do
 * so when they have nothing to add (platform.claude.com/docs/en/build-with-claude/handling-stop-reasons).
 */
const mayBeEmpty = ({ native, body }: ChatRequest) =>
  !native && [body.stop].flat().filter(Boolean).length === 0 && !isBehindResult(body.messages)

/** The turn to be answered holds what a tool returned, perhaps with words beside it. */
function isBehindResult(messages: readonly ChatMessage[]): boolean {
  const said = messages.findLastIndex(({ role }) => role === 'assistant')
  return messages.slice(said + 1).some(({ role }) => role === 'tool' || role === 'function')
}

/** SDKs parse what is labelled so, and hand on the rest as text. */
function asJson(head: AnswerHead): AnswerHead {
  if (/^application\/(?:[\w.+-]*\+)?json/i.test(head.headers['content-type'] ?? '')) return head
  return { ...head, headers: { ...head.headers, 'content-type': 'application/json' } }
}

/** The body of an error is of use only while it is small and comes at all. */
async function readErrorBody(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  try {
    return firstData(await readAll(body, MAX_ERROR_BYTES))
  } catch (error) {
    if (error instanceof UpstreamError && (error.fault === 'aborted' || error.fault === 'timeout')) throw error
    return Buffer.alloc(0)
  }
}
