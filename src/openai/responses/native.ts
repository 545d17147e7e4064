import type { Usage } from '../../candidates/usage.ts'
import type { NativeRequest, Span } from '../chat.ts'
import type { Conversion } from '../conversion.ts'
import { type OpenAIError, parseJson } from '../error.ts'
import { largeFacts } from '../error-in-answer.ts'
import { isObject } from '../is-object.ts'
import { NativeStream } from '../native-stream.ts'
import { readLargeBy } from '../parse-thread.ts'
import type { LargeFacts, PlainFacts } from '../stream-observer.ts'
import type { InputItem, Part } from './items.ts'
import type { ResponseResource } from './resource.ts'
import { eventFrame, failureEvents } from './stream.ts'

/** A request to a provider that speaks the Responses format itself. */
export const nativeRequest = (raw: Uint8Array, spans: ReadonlyMap<string, Span>): NativeRequest => ({
  api: 'responses',
  raw,
  spans,
  observe: () => new ResponsesObserver(),
  read: factsOf,
  readLarge: readLargeBy(factsOfResponse),
})

/** A response as a provider sent it; null where it is none. */
export function nativeResponse(json: unknown): ResponseResource | null {
  if (!isObject(json) || json.object !== 'response' || !Array.isArray(json.output)) return null
  return json as unknown as ResponseResource
}

/** Some servers leave out, at the end, what they have told item by item. */
const withoutOutput = (json: unknown): ResponseResource | null =>
  isObject(json) && json.object === 'response' && (json.output ?? null) === null
    ? nativeResponse({ ...json, output: [] })
    : null

function factsOf(json: unknown): PlainFacts | null {
  const response = nativeResponse(json)
  if (!response) return null
  return {
    usage: usageOf(response.usage),
    finishReason: finishReasonOf(response),
    completionId: typeof response.id === 'string' ? response.id : null,
    outputChars: response.output.reduce((chars, item) => chars + charsOf(item), 0),
  }
}

/** Of a response, and of OpenAI's newer endpoints; null where it is none. */
export function usageOf(usage: unknown): Usage | null {
  if (!isObject(usage) || typeof usage.input_tokens !== 'number') return null
  const input = isObject(usage.input_tokens_details) ? usage.input_tokens_details : {}
  const output = isObject(usage.output_tokens_details) ? usage.output_tokens_details : {}
  const count = (value: unknown) => (typeof value === 'number' && value >= 0 ? value : 0)
  return {
    promptTokens: count(usage.input_tokens),
    completionTokens: count(usage.output_tokens),
    cachedTokens: count(input.cached_tokens),
    cacheWriteTokens: count(input.cache_write_tokens),
    reasoningTokens: count(output.reasoning_tokens),
  }
}

/** In chat completions' words, which the record has. */
function finishReasonOf({ status, incomplete_details: details, output }: ResponseResource): string {
  if (status === 'incomplete') return details?.reason === 'content_filter' ? 'content_filter' : 'length'
  return output.some(({ type }) => type === 'function_call' || type === 'custom_tool_call') ? 'tool_calls' : 'stop'
}

function charsOf({ content, summary, arguments: args, input }: InputItem): number {
  const texts = [content, summary].flatMap((parts) => (Array.isArray(parts) ? (parts as Part[]) : []))
  const text = texts.reduce((chars, part) => chars + (part.text?.length ?? 0), 0)
  return text + (args?.length ?? 0) + (typeof input === 'string' ? input.length : 0)
}

/** Events before the first that says something. */
const QUIET = new Set(['response.created', 'response.in_progress', 'response.queued'])

/** Reads along in a stream of the Responses format. */
export class ResponsesObserver extends NativeStream {
  usage: Usage | null = null
  /** The response as last told; whole where `done`. */
  response: ResponseResource | null = null
  #sequence = -1

  /** Events that tell of a fault after what the provider has sent; null where it has told of it itself. */
  failure(error: OpenAIError): Buffer | null {
    if (this.error !== null) return null
    const events = failureEvents(error, this.response)
    return Buffer.concat(events.map((event) => eventFrame(event, ++this.#sequence)))
  }

  protected take(event: Record<string, unknown>): void {
    if (typeof event.type !== 'string') return
    this.events++
    if (typeof event.sequence_number === 'number') this.#sequence = event.sequence_number
    const response = nativeResponse(event.response) ?? withoutOutput(event.response)
    if (response) this.#told(response)
    if (event.type === 'error') this.error ??= isObject(event.error) ? event.error : event
    if (event.type === 'response.failed') this.error ??= response?.error ?? {}
    if (event.type === 'response.completed' || event.type === 'response.incomplete') {
      this.done = true
      this.finishReason = response && finishReasonOf(response)
    }
    this.measure(event.delta)
    this.speaks ||= this.error === null && !QUIET.has(event.type)
  }

  #told(response: ResponseResource): void {
    this.response = response
    if (typeof response.id === 'string') this.id = response.id
    this.usage = usageOf(response.usage) ?? this.usage
  }
}

export const factsOfResponse: Conversion<null, LargeFacts> = {
  module: import.meta.url,
  name: 'factsOfResponse',
  run: (body) => ({ body, told: largeFacts(parseJson(body), factsOf) }),
}
