import type { Usage } from '../../candidates/usage.ts'
import type { NativeRequest } from '../chat.ts'
import type { Conversion } from '../conversion.ts'
import { parseJson } from '../error.ts'
import { largeFacts } from '../error-in-answer.ts'
import { isObject } from '../is-object.ts'
import { NativeStream } from '../native-stream.ts'
import { readLargeBy } from '../parse-thread.ts'
import type { LargeFacts, PlainFacts } from '../stream-observer.ts'
import { withFields } from '../with-fields.ts'
import { type Block, blocksOf, type MessagesBody, type ParsedMessages, type Turn } from './body.ts'
import { isThought, openThought } from './thoughts.ts'

/**
 * The request for a provider that speaks the Messages API itself: the client's bytes, but for thoughts of candidates
 * that do not, whose signatures it would refuse.
 *
 * @param headers of the client's that belong to the format
 */
export function nativeRequest(parsed: ParsedMessages, headers: Record<string, string>): NativeRequest {
  const native = (isLeftOut: (block: Block) => boolean): NativeRequest => ({
    api: 'messages',
    headers,
    ...without(parsed, isLeftOut),
    observe: () => new MessagesObserver(),
    read: factsOf,
    readLarge: readLargeBy(factsOfMessage),
  })
  return {
    ...native((block) => openThought(block) !== null),
    readable: () => (holds(parsed.body, isThought) ? native(isThought) : null),
  }
}

const holds = ({ messages }: MessagesBody, isWanted: (block: Block) => boolean) =>
  messages.some(({ content }) => blocksOf(content).some(isWanted))

function without(parsed: ParsedMessages, isLeftOut: (block: Block) => boolean) {
  const { body, raw, spans } = parsed
  if (!holds(body, isLeftOut)) return { raw, spans }
  const messages = body.messages.flatMap((turn) => {
    if (typeof turn.content === 'string') return [turn]
    const content = turn.content.filter((block) => !isLeftOut(block))
    return content.length > 0 ? [{ ...turn, content }] : []
  })
  const changes: Record<string, string | null> = { messages: JSON.stringify(messages) }
  // In a tool loop it would ask for the thoughts that are gone, and what clears thoughts asks for thinking.
  if (body.thinking?.type === 'enabled' && callsWithoutThought(messages)) {
    changes.thinking = JSON.stringify({ type: 'disabled' })
    changes.context_management = null
  }
  return withFields(parsed, changes)
}

function callsWithoutThought(messages: readonly Turn[]): boolean {
  const blocks = blocksOf(messages.findLast(({ role }) => role === 'assistant')?.content)
  return blocks.some(({ type }) => type === 'tool_use') && !blocks.some(isThought)
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
  const hour = isObject(told.cache_creation) ? count(told.cache_creation.ephemeral_1h_input_tokens) : 0
  const details = isObject(told.output_tokens_details) ? told.output_tokens_details : {}
  return {
    promptTokens: count(told.input_tokens) + cachedTokens + cacheWriteTokens,
    completionTokens: count(told.output_tokens),
    cachedTokens,
    cacheWriteTokens,
    reasoningTokens: count(details.thinking_tokens),
    ...(hour > 0 && { hourWriteTokens: hour }),
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

/** Reads along in a stream of the Messages API. */
export class MessagesObserver extends NativeStream {
  #usage: Record<string, unknown> = {}

  get usage(): Usage | null {
    return usageOf(this.#usage)
  }

  protected take({ type, message, delta, usage, error }: Record<string, unknown>): void {
    if (type === 'ping') return
    this.events++
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
    if (type === 'content_block_delta' && isObject(delta)) {
      this.measure([delta.text, delta.thinking, delta.partial_json].find((piece) => typeof piece === 'string'))
    }
    this.speaks ||= type !== 'message_start' && type !== 'error'
  }

  /** `message_delta` repeats counts of `message_start`, or leaves them out. */
  #count(told: unknown): void {
    if (!isObject(told)) return
    for (const [key, value] of Object.entries(told)) if (value !== null && value !== undefined) this.#usage[key] = value
  }
}

export const factsOfMessage: Conversion<null, LargeFacts> = {
  module: import.meta.url,
  name: 'factsOfMessage',
  run: (body) => ({ body, told: largeFacts(parseJson(body), factsOf) }),
}
