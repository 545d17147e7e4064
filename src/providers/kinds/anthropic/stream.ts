import type Anthropic from '@anthropic-ai/sdk'
import { createParser } from 'eventsource-parser'
import { DONE_FRAME, frame } from '../../../openai/sse.ts'
import { UpstreamError } from '../../provider.ts'
import { openaiError } from './error.ts'
import { finishReason } from './finish-reason.ts'
import { JSON_TOOL } from './request.ts'
import type { ReasoningDetail } from './response.ts'
import { type AnthropicUsage, mergeUsage, openaiUsage } from './usage.ts'

type StreamEvent = Anthropic.RawMessageStreamEvent | { type: 'ping' } | { type: 'error'; error: unknown }

const MAX_EVENT_CHARS = 16 * 1024 * 1024
/** A ping keeps the connection alive on our side, too. */
const PING = Buffer.from(': ping\n\n')

/**
 * The Messages API's event stream as chat completion chunks; usage comes last, then `[DONE]`. @param created Unix
 * seconds
 */
export async function* openaiStream(body: AsyncIterable<Uint8Array>, created: number): AsyncGenerator<Buffer> {
  const events: StreamEvent[] = []
  let failure: UpstreamError | null = null
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ data }) => {
      try {
        events.push(JSON.parse(data) as StreamEvent)
      } catch {
        failure = new UpstreamError('protocol', 'the provider sent an event that is not JSON')
      }
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded')
        failure = new UpstreamError('protocol', 'the provider sent more than we take')
    },
  })
  const decoder = new TextDecoder()
  const converter = new StreamConverter(created)
  for await (const bytes of body) {
    parser.feed(decoder.decode(bytes, { stream: true }))
    for (const event of events.splice(0)) {
      yield* converter.convert(event)
      if (converter.ended) return
    }
    if (failure) throw failure
  }
}

/** Carries what one stream's events build on: which block is which tool call, and the usage so far. */
export class StreamConverter {
  ended = false
  readonly #created: number
  #id = ''
  #model = ''
  #usage: AnthropicUsage = {}
  #calls = 0
  #details = 0
  #jsonAnswer = false
  #block: Block = { kind: 'other' }

  constructor(created: number) {
    this.#created = created
  }

  *convert(event: StreamEvent): Generator<Buffer> {
    switch (event.type) {
      case 'message_start':
        this.#id = event.message.id
        this.#model = event.message.model
        this.#usage = event.message.usage as AnthropicUsage
        yield this.#delta({ role: 'assistant', content: '' })
        break
      case 'content_block_start':
        yield* this.#startBlock(event.content_block)
        break
      case 'content_block_delta':
        yield* this.#continueBlock(event.delta)
        break
      case 'content_block_stop':
        yield* this.#endBlock()
        break
      case 'message_delta':
        this.#usage = mergeUsage(this.#usage, event.usage as AnthropicUsage)
        if (event.delta.stop_reason) {
          yield this.#delta({}, finishReason(event.delta.stop_reason, this.#jsonAnswer && this.#calls === 0))
        }
        break
      case 'message_stop':
        this.ended = true
        yield frame({ ...this.#head(), choices: [], usage: openaiUsage(this.#usage) })
        yield DONE_FRAME
        break
      case 'ping':
        yield PING
        break
      case 'error': {
        this.ended = true
        const { status, ...error } = openaiError(event)
        // The number tells the gateway what status to answer with while it still can.
        yield frame({ error: { ...error, status } })
        break
      }
    }
  }

  *#startBlock(block: Anthropic.RawContentBlockStartEvent['content_block']): Generator<Buffer> {
    switch (block.type) {
      case 'text':
        this.#block = { kind: 'text' }
        if (block.text !== '') yield this.#delta({ content: block.text })
        break
      case 'thinking':
        this.#block = { kind: 'thinking', text: block.thinking, signature: block.signature ?? '' }
        break
      case 'redacted_thinking':
        this.#block = { kind: 'other' }
        yield this.#detail({ type: 'reasoning.encrypted', data: block.data, index: this.#details++ })
        break
      case 'tool_use':
        if (block.name === JSON_TOOL) {
          this.#jsonAnswer = true
          this.#block = { kind: 'json' }
        } else {
          this.#block = { kind: 'tool', index: this.#calls++, empty: true }
          yield this.#delta({
            tool_calls: [
              { index: this.#calls - 1, id: block.id, type: 'function', function: { name: block.name, arguments: '' } },
            ],
          })
        }
        break
      default:
        this.#block = { kind: 'other' }
    }
  }

  *#continueBlock(delta: Anthropic.RawContentBlockDelta): Generator<Buffer> {
    const block = this.#block
    switch (delta.type) {
      case 'text_delta':
        yield this.#delta({ content: delta.text })
        break
      case 'thinking_delta':
        if (block.kind === 'thinking') block.text += delta.thinking
        yield this.#delta({ reasoning_content: delta.thinking })
        break
      case 'signature_delta':
        if (block.kind === 'thinking') block.signature += delta.signature
        break
      case 'input_json_delta':
        if (delta.partial_json === '') break
        if (block.kind === 'json') yield this.#delta({ content: delta.partial_json })
        if (block.kind !== 'tool') break
        block.empty = false
        yield this.#delta({ tool_calls: [{ index: block.index, function: { arguments: delta.partial_json } }] })
        break
    }
  }

  *#endBlock(): Generator<Buffer> {
    const block = this.#block
    this.#block = { kind: 'other' }
    // A call without arguments has no deltas, but clients parse what they get.
    if (block.kind === 'tool' && block.empty) {
      yield this.#delta({ tool_calls: [{ index: block.index, function: { arguments: '{}' } }] })
    }
    if (block.kind === 'thinking' && block.signature !== '') {
      const { text, signature } = block
      yield this.#detail({ type: 'reasoning.text', text, signature, index: this.#details++ })
    }
  }

  #detail(detail: ReasoningDetail): Buffer {
    return this.#delta({ reasoning_details: [detail] })
  }

  #delta(delta: Record<string, unknown>, finish_reason: string | null = null): Buffer {
    return frame({ ...this.#head(), choices: [{ index: 0, delta, logprobs: null, finish_reason }] })
  }

  #head() {
    return { id: this.#id, object: 'chat.completion.chunk', created: this.#created, model: this.#model }
  }
}

type Block =
  | { kind: 'text' | 'json' | 'other' }
  | { kind: 'thinking'; text: string; signature: string }
  | { kind: 'tool'; index: number; empty: boolean }
