import type { Conversion } from '../../openai/conversion.ts'
import { completionOfStream } from '../../openai/convert-stream.ts'
import { parseJson, readError, statusOfError } from '../../openai/error.ts'
import { errorInAnswer } from '../../openai/error-in-answer.ts'
import { endOf } from '../../openai/finish-reason.ts'
import { isBlank } from '../../openai/is-blank.ts'
import { isObject } from '../../openai/is-object.ts'
import { type Asked, isPlainlyTold, Mend } from '../../openai/mend.ts'
import { retryAfterMs } from '../../openai/retry-after.ts'
import type { PlainFacts } from '../../openai/stream-observer.ts'
import { parseUsage } from '../../openai/usage.ts'
import { withoutRepeated } from '../dialect/repeated.ts'
import type { Failure } from '../forward/failure.ts'
import { linesAsEvents, looksLikeEvents } from './shape.ts'

/** What is to be known of a whole answer, and whether it says nothing; or why it is none. */
export type PlainTold = { facts: PlainFacts; isEmpty: boolean } | { failure: Failure }

/** A whole chat completion, told as its client reads it. It may have come as events, or as chunks in lines. */
export const plainChat: Conversion<Asked, PlainTold> = {
  module: import.meta.url,
  name: 'plainChat',
  run(raw, asked) {
    if (looksLikeEvents(raw)) return readEvents(raw, asked)
    const json = parseJson(raw)
    const lines = json === undefined ? linesAsEvents(raw) : null
    if (lines) return readEvents(lines, asked)
    const mended = isObject(json) && !isPlainlyTold(json) ? new Mend(asked).mended(json) : null
    return mended
      ? { body: Buffer.from(JSON.stringify(mended)), told: toldOf(mended) }
      : { body: raw, told: toldOf(json) }
  },
}

/** Events where a whole answer was asked for: put together. */
function readEvents(body: Buffer, asked: Asked): { body: Buffer; told: PlainTold } {
  const collected = completionOfStream(body, asked)
  if ('error' in collected) return { body, told: { failure: errorFailure(collected.error) } }
  const { completion } = collected
  if (completion !== null) return { body: Buffer.from(JSON.stringify(completion)), told: toldOf(completion) }
  return { body, told: { failure: protocol('the provider ended its answer before it was whole') } }
}

function toldOf(json: unknown): PlainTold {
  const failure = bodyFailure(json)
  if (failure) return { failure }
  const facts = factsOf(json)
  return facts ? { facts, isEmpty: saysNothing(json) } : { failure: notAnAnswer('chat') }
}

export const notAnAnswer = (api: string): Failure => protocol(`the provider sent something that is not a ${api} answer`)

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

export const protocol = (message: string): Failure => ({ kind: 'protocol', message })

/** Some answer 200 with an error in the body, or in its only choice. */
export function bodyFailure(json: unknown): Failure | null {
  const told = errorInAnswer(json)
  return told && errorFailure(told.error)
}

export function errorFailure(error: unknown): Failure {
  return statusFailure(statusOfError(error), {}, Buffer.from(JSON.stringify({ error })))
}

export function statusFailure(status: number, headers: Record<string, string>, body: Buffer): Failure {
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
