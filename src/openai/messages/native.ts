import { createParser } from 'eventsource-parser'
import type { Usage } from '../../candidates/usage.ts'
import type { NativeRequest, Span } from '../chat.ts'
import { parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'
import { parseRawBody } from '../raw-body.ts'
import { MAX_EVENT_BYTES } from '../sse-observer.ts'
import type { PlainFacts, StreamObserver } from '../stream-observer.ts'
import { type Block, blocksOf, type ParsedMessages } from './body.ts'
import { openThought } from './thoughts.ts'

/**
 * The request for a provider that speaks the Messages API itself: the client's bytes, but for thoughts of candidates
 * that do not, whose signatures it would refuse.
 *
 * @param headers of the client's that belong to the format
 */
export function nativeRequest(parsed: ParsedMessages, headers: Record<string, string>): NativeRequest {
  return {
    api: 'messages',
    headers,
    ...withoutForeignThoughts(parsed),
    observe: () => new MessagesObserver(),
    read: factsOf,
  }
}

function withoutForeignThoughts({ body, raw, spans }: ParsedMessages): {
  raw: Uint8Array
  spans: ReadonlyMap<string, Span>
} {
  const span = spans.get('messages')
  const isForeign = (block: Block) => openThought(block) !== null
  if (!span || !body.messages.some(({ content }) => blocksOf(content).some(isForeign))) return { raw, spans }
  const kept = body.messages.flatMap((turn) => {
    if (typeof turn.content === 'string') return [turn]
    const content = turn.content.filter((block) => !isForeign(block))
    return content.length > 0 ? [{ ...turn, content }] : []
  })
  const bytes = Buffer.concat([raw.subarray(0, span.start), Buffer.from(JSON.stringify(kept)), raw.subarray(span.end)])
  return { raw: bytes, spans: parseRawBody(bytes).spans }
}

/** In chat completions' words, which the record has. */
function finishReasonOf(reason: unknown): string | null {
  switch (reason) {
    case null:
    case undefined:
      return null
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return 'length'
    case 'tool_use':
      return 'tool_calls'
    case 'refusal':
      return 'content_filter'
    default:
      return 'stop'
  }
}

/** Anthropic counts the cached part of a prompt apart; here the prompt is all of it. */
function usageOf(told: unknown): Usage | null {
  if (!isObject(told)) return null
  const count = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0)
  if (typeof told.input_tokens !== 'number' && typeof told.output_tokens !== 'number') return null
  const cachedTokens = count(told.cache_read_input_tokens)
  const cacheWriteTokens = count(told.cache_creation_input_tokens)
  const details = isObject(told.output_tokens_details) ? told.output_tokens_details : {}
  return {
    promptTokens: count(told.input_tokens) + cachedTokens + cacheWriteTokens,
    completionTokens: count(told.output_tokens),
    cachedTokens,
    cacheWriteTokens,
    reasoningTokens: count(details.thinking_tokens),
  }
}

function factsOf(json: unknown): PlainFacts | null {
  if (!isObject(json) || json.type !== 'message' || !Array.isArray(json.content)) return null
  return {
    usage: usageOf(json.usage),
    finishReason: finishReasonOf(json.stop_reason),
    completionId: typeof json.id === 'string' ? json.id : null,
    outputChars: (json.content as Block[]).reduce((chars, block) => chars + charsOf(block), 0),
  }
}

const charsOf = ({ text, thinking, input }: Block): number =>
  (text?.length ?? 0) +
  (typeof thinking === 'string' ? thinking.length : 0) +
  (input === undefined ? 0 : JSON.stringify(input).length)

/** Reads along in a stream of the Messages API, whose bytes it passes on as they are. */
export class MessagesObserver implements StreamObserver {
  id: string | null = null
  finishReason: string | null = null
  done = false
  error: unknown = null
  speaks = false
  oversize = false
  events = 0
  outputBytes = 0
  outputEvents = 0
  #usage: Record<string, unknown> = {}
  readonly #decoder = new TextDecoder()
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_BYTES,
    onEvent: ({ data }) => this.#take(data),
    onError: ({ type }) => {
      this.oversize ||= type === 'max-buffer-size-exceeded'
    },
  })

  get usage(): Usage | null {
    return usageOf(this.#usage)
  }

  isComplete(): boolean {
    return this.done
  }

  push(bytes: Uint8Array): Buffer {
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** An event without its last blank line is read, too. */
  end(): Buffer | null {
    this.#parser.feed('\n\n')
    return null
  }

  #take(data: string): void {
    const event = parseJson(Buffer.from(data))
    if (!isObject(event) || event.type === 'ping') return
    this.events++
    const { type, message, delta, usage, error } = event
    if (type === 'error') this.error ??= isObject(error) ? error : {}
    if (isObject(message)) {
      if (typeof message.id === 'string') this.id = message.id
      this.#count(message.usage)
    }
    if (type === 'message_delta') {
      this.#count(usage)
      if (isObject(delta)) this.finishReason = finishReasonOf(delta.stop_reason) ?? this.finishReason
    }
    if (type === 'message_stop') this.done = true
    if (type === 'content_block_delta' && isObject(delta)) this.#measure(delta)
    this.speaks ||= type !== 'message_start' && type !== 'error'
  }

  /** `message_delta` repeats counts of `message_start`, or leaves them out. */
  #count(told: unknown): void {
    if (!isObject(told)) return
    for (const [key, value] of Object.entries(told)) if (value !== null && value !== undefined) this.#usage[key] = value
  }

  #measure({ text, thinking, partial_json }: Record<string, unknown>): void {
    const said = [text, thinking, partial_json].find((piece) => typeof piece === 'string')
    if (typeof said !== 'string' || said === '') return
    this.outputBytes += Buffer.byteLength(said)
    this.outputEvents++
  }
}
