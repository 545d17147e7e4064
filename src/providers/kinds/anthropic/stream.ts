import type Anthropic from '@anthropic-ai/sdk'
import { createParser } from 'eventsource-parser'
import { DONE_FRAME, frame } from '../../../openai/sse.ts'
import { UpstreamError } from '../../provider.ts'
import { openaiError } from './error.ts'
import { finishReason } from './finish-reason.ts'
import { JSON_TOOL } from './request.ts'
import { FORMAT, type ReasoningDetail } from './response.ts'
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
  #isFinished = false
  /** By the index that each event names: blocks may come side by side. */
  readonly #blocks = new Map<number, Block>()

  constructor(created: number) {
    this.#created = created
  }

  *convert(event: StreamEvent): Generator<Buffer> {
    switch (event.type) {
      case 'message_start':
        this.#id = event.message.id
        this.#model = event.message.model
        this.#usage = mergeUsage(this.#usage, event.message.usage as AnthropicUsage | undefined)
        yield this.#delta({ role: 'assistant', content: '' })
        break
      case 'content_block_start':
        yield* this.#startBlock(event.index, event.content_block)
        break
      case 'content_block_delta':
        yield* this.#continueBlock(event.index, event.delta)
        break
      case 'content_block_stop':
        yield* this.#endBlock(event.index)
        break
      case 'message_delta':
        this.#usage = mergeUsage(this.#usage, event.usage as AnthropicUsage | undefined)
        if (event.delta?.stop_reason) yield* this.#finish(event.delta.stop_reason)
        break
      case 'message_stop':
        this.ended = true
        // Said, if not in so many words.
        if (!this.#isFinished) yield* this.#finish(this.#calls > 0 ? 'tool_use' : 'end_turn')
        if (Object.keys(this.#usage).length > 0) {
          yield frame({ ...this.#head(), choices: [], usage: openaiUsage(this.#usage) })
        }
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

  *#finish(reason: Anthropic.StopReason): Generator<Buffer> {
    // What was not closed is closed now.
    for (const index of [...this.#blocks.keys()]) yield* this.#endBlock(index)
    this.#isFinished = true
    yield this.#delta({}, finishReason(reason, this.#jsonAnswer && this.#calls === 0))
  }

  *#startBlock(index: number, block: Anthropic.RawContentBlockStartEvent['content_block']): Generator<Buffer> {
    yield* this.#endBlock(index)
    switch (block.type) {
      case 'text':
        this.#blocks.set(index, { kind: 'text' })
        if (block.text) yield this.#delta({ content: block.text })
        break
      case 'thinking':
        this.#blocks.set(index, { kind: 'thinking', text: block.thinking ?? '', signature: block.signature ?? '' })
        if (block.thinking) yield this.#delta({ reasoning_content: block.thinking })
        break
      case 'redacted_thinking':
        yield this.#detail({ type: 'reasoning.encrypted', data: block.data, format: FORMAT, index: this.#details++ })
        break
      case 'tool_use':
        if (block.name === JSON_TOOL) {
          this.#jsonAnswer = true
          this.#blocks.set(index, { kind: 'json', input: block.input, empty: true })
        } else {
          const call = this.#calls++
          this.#blocks.set(index, { kind: 'tool', call, input: block.input, empty: true })
          const { id, name } = block
          yield this.#delta({ tool_calls: [{ index: call, id, type: 'function', function: { name, arguments: '' } }] })
        }
        break
    }
  }

  *#continueBlock(index: number, delta: Anthropic.RawContentBlockDelta): Generator<Buffer> {
    const block = this.#blocks.get(index)
    switch (delta.type) {
      case 'text_delta':
        if (delta.text) yield this.#delta({ content: delta.text })
        break
      case 'thinking_delta':
        if (block?.kind === 'thinking') block.text += delta.thinking
        if (delta.thinking) yield this.#delta({ reasoning_content: delta.thinking })
        break
      case 'signature_delta':
        if (block?.kind === 'thinking') block.signature += delta.signature
        break
      case 'input_json_delta':
        if (!delta.partial_json || (block?.kind !== 'tool' && block?.kind !== 'json')) break
        block.empty = false
        yield this.#input(block, delta.partial_json)
        break
    }
  }

  *#endBlock(index: number): Generator<Buffer> {
    const block = this.#blocks.get(index)
    this.#blocks.delete(index)
    // A call without arguments has no deltas, and some servers send the whole input at the start.
    if ((block?.kind === 'tool' || block?.kind === 'json') && block.empty) {
      yield this.#input(block, JSON.stringify(block.input ?? {}))
    }
    if (block?.kind === 'thinking' && block.signature !== '') {
      const { text, signature } = block
      yield this.#detail({ type: 'reasoning.text', text, signature, format: FORMAT, index: this.#details++ })
    }
  }

  #input(block: Block & { kind: 'tool' | 'json' }, text: string): Buffer {
    if (block.kind === 'json') return this.#delta({ content: text })
    return this.#delta({ tool_calls: [{ index: block.call, function: { arguments: text } }] })
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
  | { kind: 'text' }
  | { kind: 'thinking'; text: string; signature: string }
  | { kind: 'json'; input: unknown; empty: boolean }
  | { kind: 'tool'; call: number; input: unknown; empty: boolean }
