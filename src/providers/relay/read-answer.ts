import { parseJson, readError, statusOfError } from '../../openai/error.ts'
import { isObject } from '../../openai/is-object.ts'
import { retryAfterMs } from '../../openai/retry-after.ts'
import { SseObserver } from '../../openai/sse-observer.ts'
import type { PlainFacts, StreamObserver } from '../../openai/stream-observer.ts'
import { parseUsage } from '../../openai/usage.ts'
import type { Failure } from '../forward/failure.ts'
import { readAll } from '../http/read-all.ts'
import { UpstreamError } from '../provider.ts'
import type { AnswerHead, Forwarded, PlainAnswer, StreamAnswer } from './answer.ts'

/** A plain answer larger than this is refused; images and audio in base64 fit. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const MAX_ERROR_BYTES = 256 * 1024
/** Before the first event that says something: role, comments, an image at most. */
const MAX_HEAD_BYTES = 16 * 1024 * 1024

type Read<Answer> = { answer: Answer } | { failure: Failure }
type Body = AsyncIterable<Uint8Array>

export interface ReadControl extends Pick<StreamAnswer, 'abort' | 'release'> {
  /** Bytes of a plain answer have come. */
  onBytes(): void
}

/**
 * Reads as much of an answer as tells whether it is one: all of a plain answer, a stream up to the first event that
 * says something. An error there has been seen by nobody yet.
 *
 * @throws UpstreamError
 */
export async function readAnswer(
  head: AnswerHead,
  body: Body,
  { onBytes, ...control }: ReadControl,
): Promise<Read<Forwarded>> {
  const { status, headers, request } = head
  if (status < 200 || status >= 300) return { failure: statusFailure(status, headers, await readErrorBody(body)) }
  if (!request.stream) return readPlain(head, body, onBytes)
  if (/^(application\/json|text\/html)/i.test(headers['content-type'] ?? '')) {
    const json = parseJson(await readErrorBody(body))
    return { failure: bodyFailure(json) ?? protocol('the provider did not stream') }
  }
  return peek(head, body, request.native?.observe() ?? new SseObserver({ dropUsage: !request.wantsUsage }), control)
}

async function peek(
  common: AnswerHead,
  body: Body,
  observer: StreamObserver,
  control: Pick<StreamAnswer, 'abort' | 'release'>,
): Promise<Read<StreamAnswer>> {
  const rest = body[Symbol.asyncIterator]()
  const head: Buffer[] = []
  let size = 0
  while (!observer.speaks && !observer.done && observer.error === null && size <= MAX_HEAD_BYTES) {
    const { value, done } = await rest.next()
    const bytes = done ? observer.end() : observer.push(value)
    if (bytes) head.push(bytes)
    if (done) break
    size += value.length
  }
  if (observer.speaks && observer.error === null) {
    return { answer: { ...common, stream: true, head, rest, observer, ...control } }
  }
  await rest.return?.()
  if (observer.error !== null) return { failure: errorFailure(observer.error) }
  if (size > MAX_HEAD_BYTES) return { failure: protocol('the provider sent more than we take') }
  return { failure: protocol('the provider ended its answer before it said anything') }
}

async function readPlain(common: AnswerHead, body: Body, onBytes: () => void): Promise<Read<PlainAnswer>> {
  const bytes = await readAll(body, MAX_BODY_BYTES, onBytes)
  const json = parseJson(bytes)
  const failed = bodyFailure(json)
  if (failed) return { failure: failed }
  const { native } = common.request
  const facts = native ? native.read(json) : factsOf(json)
  if (!facts) return { failure: protocol(`the provider sent something that is not a ${native?.api ?? 'chat'} answer`) }
  return { answer: { ...common, stream: false, body: bytes, ...facts } }
}

function factsOf(json: unknown): PlainFacts | null {
  if (!isObject(json) || !Array.isArray(json.choices)) return null
  const choices = json.choices.filter(isObject)
  const reason = choices.find((choice) => typeof choice.finish_reason === 'string')?.finish_reason
  return {
    usage: parseUsage(json.usage),
    finishReason: typeof reason === 'string' ? reason : null,
    completionId: typeof json.id === 'string' ? json.id : null,
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

/** Some answer 200 with an error in the body. */
function bodyFailure(json: unknown): Failure | null {
  const error = isObject(json) && !Array.isArray(json.choices) ? json.error : null
  return error ? errorFailure(error) : null
}

function errorFailure(error: unknown): Failure {
  return statusFailure(statusOfError(error), {}, Buffer.from(JSON.stringify({ error })))
}

function statusFailure(status: number, headers: Record<string, string>, body: Buffer): Failure {
  const { code } = readError(status, parseJson(body))
  return { kind: 'status', status, code, retryAfterMs: retryAfterMs(headers), body, headers }
}

/** The body of an error is of use only while it is small and comes at all. */
async function readErrorBody(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  try {
    return await readAll(body, MAX_ERROR_BYTES)
  } catch (error) {
    if (error instanceof UpstreamError && (error.fault === 'aborted' || error.fault === 'timeout')) throw error
    return Buffer.alloc(0)
  }
}
