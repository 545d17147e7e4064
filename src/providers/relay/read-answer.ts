import { GatewayError } from '../../errors.ts'
import type { ChatMessage, ChatRequest, NativeRequest } from '../../openai/chat.ts'
import { completionOfStream, streamOfCompletion } from '../../openai/convert-stream.ts'
import { parseJson, readError, saysError, statusOfError, withoutMark } from '../../openai/error.ts'
import { BROKE, endOf, isFailure } from '../../openai/finish-reason.ts'
import { isBlank } from '../../openai/is-blank.ts'
import { isObject } from '../../openai/is-object.ts'
import { isPlainlyTold, Mend } from '../../openai/mend.ts'
import { LARGE_BYTES } from '../../openai/parse-thread.ts'
import { retryAfterMs } from '../../openai/retry-after.ts'
import { SseObserver } from '../../openai/sse-observer.ts'
import type { PlainFacts, StreamObserver } from '../../openai/stream-observer.ts'
import { parseUsage } from '../../openai/usage.ts'
import { FairTimer } from '../../runtime/fair-timer.ts'
import { inOwnMemory } from '../../runtime/own-memory.ts'
import { withoutRepeated } from '../dialect/repeated.ts'
import type { Failure } from '../forward/failure.ts'
import { readAll } from '../http/read-all.ts'
import { UpstreamError } from '../provider.ts'
import type { AnswerHead, Forwarded, PlainAnswer, StreamAnswer } from './answer.ts'
import { firstData, linesAsEvents, looksLikeEvents, shapeOf } from './shape.ts'

/** A plain answer larger than this is refused; images and audio in base64 fit. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const MAX_ERROR_BYTES = 256 * 1024
/** Before the first event that says something: role, comments, an image at most. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024

type Read<Answer> = { answer: Answer } | { failure: Failure }
type Body = AsyncIterable<Uint8Array>

/** Smaller answers are not worth counting. */
const UNCOUNTED_BYTES = 64 * 1024

export interface ReadControl extends Pick<StreamAnswer, 'abort' | 'release'> {
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
  return { answer: streamOf(plain.answer, control) }
}

/** The official label, whatever the provider wrote. */
function asEvents(head: AnswerHead): AnswerHead {
  if (/^text\/event-stream/i.test(head.headers['content-type'] ?? '')) return head
  return { ...head, headers: { ...head.headers, 'content-type': 'text/event-stream; charset=utf-8' } }
}

/** A whole answer where a stream was asked for. */
function streamOf(
  { body, candidate, status, headers, attempts, upstreamMs, request }: PlainAnswer,
  { abort, release }: Pick<StreamAnswer, 'abort' | 'release'>,
): StreamAnswer {
  const observer = new SseObserver(observing(request))
  const bytes = observer.push(streamOfCompletion(parseJson(body) as Record<string, unknown>))
  const events = asEvents({ candidate, status, headers, attempts, upstreamMs, request })
  return { ...events, stream: true, head: bytes ? [bytes] : [], rest: NOTHING, observer, abort, release }
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
  const { native } = common.request
  if (native?.readLarge && raw.length > LARGE_BYTES)
    return largeOf(common, await native.readLarge(inOwnMemory(raw)), native)
  if (!native && looksLikeEvents(raw)) return readEvents(common, raw)
  const json = parseJson(raw)
  const lines = json === undefined && !native ? linesAsEvents(raw) : null
  if (lines) return readEvents(common, lines)
  const isAsTold = native || !isObject(json) || isPlainlyTold(json)
  const mended = isAsTold ? null : new Mend(askedBy(common.request)).mended(json)
  return mended ? plainOf(common, Buffer.from(JSON.stringify(mended)), mended) : plainOf(common, raw, json)
}

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

/** Events where a whole answer was asked for: put together. */
function readEvents(common: AnswerHead, raw: Buffer): Read<PlainAnswer> {
  const collected = completionOfStream(raw, askedBy(common.request))
  if ('error' in collected) return { failure: errorFailure(collected.error) }
  if (collected.completion === null) return { failure: protocol('the provider ended its answer before it was whole') }
  const { completion } = collected
  return plainOf(common, Buffer.from(JSON.stringify(completion)), completion)
}

function plainOf(common: AnswerHead, bytes: Buffer, json: unknown): Read<PlainAnswer> {
  const failed = bodyFailure(json)
  if (failed) return { failure: failed }
  const { native } = common.request
  const facts = native ? native.read(json) : factsOf(json)
  if (!facts) return { failure: notAnAnswer(native) }
  const isEmpty = mayBeEmpty(common.request) && saysNothing(json)
  return { answer: { ...asJson(common), stream: false, body: bytes, ...facts, isEmpty } }
}

function largeOf(
  common: AnswerHead,
  { facts, body }: { facts: PlainFacts | null; body: Buffer },
  native: NativeRequest,
): Read<PlainAnswer> {
  if (!facts) return { failure: notAnAnswer(native) }
  return { answer: { ...asJson(common), stream: false, body, ...facts, isEmpty: false } }
}

const notAnAnswer = (native: NativeRequest | undefined) =>
  protocol(`the provider sent something that is not a ${native?.api ?? 'chat'} answer`)

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

/** No choice holds more than a role, and none was cut or filtered. */
function saysNothing(json: unknown): boolean {
  const choices: unknown[] = isObject(json) && Array.isArray(json.choices) ? json.choices : []
  return choices.every(
    (choice) =>
      isObject(choice) &&
      (endOf(choice.finish_reason) ?? 'stop') === 'stop' &&
      isObject(choice.message) &&
      Object.entries(choice.message).every(([field, value]) => field === 'role' || isBlank(value)),
  )
}

/** SDKs parse what is labelled so, and hand on the rest as text. */
function asJson(head: AnswerHead): AnswerHead {
  if (/^application\/(?:[\w.+-]*\+)?json/i.test(head.headers['content-type'] ?? '')) return head
  return { ...head, headers: { ...head.headers, 'content-type': 'application/json' } }
}

function factsOf(json: unknown): PlainFacts | null {
  const choices = isObject(json) && Array.isArray(json.choices) ? json.choices.filter(isObject) : []
  if (!isObject(json) || choices.length === 0) return null
  return {
    usage: parseUsage(json.usage),
    finishReason: choices.map((choice) => endOf(choice.finish_reason)).find((reason) => reason !== null) ?? null,
    completionId: typeof json.id === 'string' && json.id !== '' ? json.id : null,
    outputChars: choices.reduce((sum, { message }) => sum + textLength(message), 0),
  }
}

function textLength(message: unknown): number {
  if (!isObject(message)) return 0
  const texts = [message.content, message.reasoning_content, message.reasoning, message.refusal]
  const text = texts.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 0), 0)
  return text + (Array.isArray(message.tool_calls) ? JSON.stringify(message.tool_calls).length : 0)
}

const protocol = (message: string): Failure => ({ kind: 'protocol', message })

/** Some answer 200 with an error in the body, or in its only choice. */
function bodyFailure(json: unknown): Failure | null {
  const outer = Array.isArray(json) ? json[0] : json
  if (!isObject(outer)) return null
  const choices: unknown[] = Array.isArray(outer.choices) ? outer.choices : []
  if (choices.length === 0) return saysError(outer.error) ? errorFailure(outer.error) : null
  const [choice] = choices
  if (!isObject(choice) || choices.length !== 1 || !isFailure(choice.finish_reason)) return null
  return errorFailure(saysError(choice.error) ? choice.error : { message: BROKE, code: choice.finish_reason })
}

function errorFailure(error: unknown): Failure {
  return statusFailure(statusOfError(error), {}, Buffer.from(JSON.stringify({ error })))
}

function statusFailure(status: number, headers: Record<string, string>, body: Buffer): Failure {
  const { code, message } = readError(status, parseJson(body))
  return { kind: 'status', status: meant(status, message), code, retryAfterMs: retryAfterMs(headers), body, headers }
}

const OUR_KEY = /api[ _-]?key (?:is )?(?:not valid|invalid|incorrect|expired)|(?:incorrect|invalid) api[ _-]?key/i
const OUR_CREDIT =
  /credit balance|insufficient (?:balance|credits?|funds|quota)|exceeded your current quota|account (?:is |has been )?(?:suspended|deactivated|overdue|in arrears)/i

/** Some say 400 of our key, or of what our account is worth: no other request would do better. */
function meant(status: number, message: string): number {
  if (status !== 400) return status
  const own = withoutRepeated(message)
  return OUR_KEY.test(own) ? 401 : OUR_CREDIT.test(own) ? 402 : status
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
