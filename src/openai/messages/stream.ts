import { createParser } from 'eventsource-parser'
import type { Usage } from '../../candidates/usage.ts'
import { callThoughtsOf } from '../call-thoughts.ts'
import { type OpenAIError, parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'
import { MAX_EVENT_BYTES } from '../sse-observer.ts'
import type { Block } from './body.ts'
import { messagesError } from './error.ts'
import { stoppedAt, stopReason, thoughtsOf, usageOf } from './resource.ts'
import { sealThought, type Thought } from './thoughts.ts'

export interface MessageStreamOptions {
  /** Who answers: its thoughts go back to it alone. */
  candidate: string
  /** Estimated: told at the start, when nobody has counted yet. */
  promptTokens: number
  /** As counted, or estimated; asked when the answer has ended. */
  usage: () => Usage
  finishReason: () => string | null
  /** Where the request wanted it to stop. */
  stops?: readonly string[]
}

/** The block that is being told. */
type Open = { kind: 'text' } | { kind: 'thinking'; sealed: Thought } | { kind: 'tool'; call: Call }

interface Call {
  id: string
  name: string
  arguments: string
  /** Characters of the arguments that have been told. */
  told: number
  isOver: boolean
  thoughts: Record<string, unknown> | null
}

const NO_USAGE: Usage = {
  promptTokens: 0,
  completionTokens: 0,
  cachedTokens: 0,
  cacheWriteTokens: 0,
  reasoningTokens: 0,
}

/** A stream of chat completion chunks as the events of the Messages API, in Anthropic's order. */
export class MessageStream {
  readonly #options: MessageStreamOptions
  readonly #decoder = new TextDecoder()
  readonly #parser: ReturnType<typeof createParser>
  #out: string[] = []
  #begun = false
  #isOver = false
  #index = -1
  #open: Open | null = null
  /** By the provider's index. */
  readonly #calls = new Map<number, Call>()
  /** Calls that came while another was being told. */
  #waiting: Call[] = []
  /** Text that came inside of a call. */
  #late = ''
  #refused = false
  #stoppedAt: string | null = null

  constructor(options: MessageStreamOptions) {
    this.#options = options
    this.#parser = createParser({
      maxBufferSize: MAX_EVENT_BYTES,
      onEvent: ({ data }) => this.#take(data),
      onComment: () => this.#ping(),
    })
  }

  push(bytes: Uint8Array): Buffer | null {
    if (this.#isOver) return null
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    return this.#taken()
  }

  /** The answer is whole. */
  end(): Buffer | null {
    if (this.#isOver) return null
    this.#isOver = true
    this.#begin({})
    this.#close()
    for (const call of this.#waiting.splice(0)) this.#startCall(call)
    this.#close()
    if (this.#late !== '') this.#say(this.#late)
    this.#close()
    const ended = this.#refused ? 'refusal' : stopReason(this.#options.finishReason(), this.#calls.size > 0)
    const stop = ended === 'end_turn' ? this.#stoppedAt : null
    this.#send('message_delta', {
      delta: { stop_reason: stop === null ? ended : 'stop_sequence', stop_sequence: stop },
      usage: usageOf(this.#options.usage()),
    })
    this.#send('message_stop', {})
    return this.#taken()
  }

  /** The answer broke. */
  fail(error: OpenAIError): Buffer | null {
    if (this.#isOver) return null
    this.#isOver = true
    const { type, ...fields } = messagesError(error)
    this.#send(type, fields)
    return this.#taken()
  }

  #take(data: string): void {
    if (data.startsWith('[DONE]') || this.#isOver) return
    const chunk = parseJson(Buffer.from(data))
    if (!isObject(chunk) || chunk.error) return
    this.#begin(chunk)
    const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : null
    if (!isObject(choice)) return
    this.#stoppedAt ??= stoppedAt(choice, this.#options.stops ?? [])
    if (isObject(choice.delta)) this.#takeDelta(choice.delta)
  }

  #takeDelta(delta: Record<string, unknown>): void {
    for (const thought of thoughtsOf(delta)) this.#think(thought)
    for (const text of [delta.content, delta.refusal]) if (typeof text === 'string' && text !== '') this.#say(text)
    if (typeof delta.refusal === 'string' && delta.refusal !== '') this.#refused = true
    for (const call of Array.isArray(delta.tool_calls) ? delta.tool_calls.filter(isObject) : []) this.#call(call)
  }

  /** A signature ends its thought; what only the provider can read is a block of its own. */
  #think(thought: Thought): void {
    if (thought.data !== undefined) {
      this.#start(sealThought(this.#options.candidate, thought))
      this.#stop()
      return
    }
    const { text = '', ...sealed } = thought
    const { signature } = sealed
    if (this.#open?.kind !== 'thinking') {
      // The text came before, without the signature.
      if (text === '' && signature === undefined) return
      this.#start({ type: 'thinking', thinking: '', signature: '' })
      this.#open = { kind: 'thinking', sealed: {} }
    }
    if (text !== '') this.#delta({ type: 'thinking_delta', thinking: text })
    if (this.#open?.kind === 'thinking') Object.assign(this.#open.sealed, sealed)
  }

  #say(text: string): void {
    if (this.#open?.kind === 'tool' && !isJson(this.#open.call.arguments)) {
      this.#late += text
      return
    }
    if (this.#open?.kind !== 'text') {
      this.#start({ type: 'text', text: '' })
      this.#open = { kind: 'text' }
    }
    this.#delta({ type: 'text_delta', text })
  }

  /** Blocks come one after the other, calls may come at once: one is told while it comes, the others wait. */
  #call(given: Record<string, unknown>): void {
    const { index, id, function: called } = given
    const at = typeof index === 'number' ? index : 0
    const { name, arguments: piece } = isObject(called) ? called : {}
    let call = this.#calls.get(at)
    // Some give all calls one index, and tell them apart by their ids.
    if (!call || (typeof id === 'string' && id !== '' && call.id !== id)) {
      const thoughts = callThoughtsOf(given)
      call = { id: String(id ?? ''), name: String(name ?? ''), arguments: '', told: 0, isOver: false, thoughts }
      this.#calls.set(at, call)
      this.#waiting.push(call)
    }
    if (typeof piece === 'string') call.arguments += piece
    if (call.isOver) return
    const open = this.#open?.kind === 'tool' ? this.#open.call : null
    if (open !== call && (open === null || isJson(open.arguments))) {
      const next = this.#waiting.shift()
      if (next) this.#startCall(next)
    }
    if (this.#open?.kind === 'tool' && this.#open.call === call) this.#tellArguments(call)
  }

  #startCall(call: Call): void {
    if (call.thoughts) {
      this.#start(sealThought(this.#options.candidate, { call: { id: call.id, fields: call.thoughts } }))
      this.#stop()
    }
    this.#start({ type: 'tool_use', id: call.id, name: call.name, input: {} })
    this.#open = { kind: 'tool', call }
    this.#tellArguments(call)
  }

  #tellArguments(call: Call): void {
    const partial_json = call.arguments.slice(call.told)
    if (partial_json !== '') this.#delta({ type: 'input_json_delta', partial_json })
    call.told = call.arguments.length
  }

  #close(): void {
    const open = this.#open
    if (!open) return
    if (open.kind === 'thinking') {
      const { signature } = sealThought(this.#options.candidate, open.sealed)
      this.#delta({ type: 'signature_delta', signature })
    }
    if (open.kind === 'tool') open.call.isOver = true
    this.#stop()
  }

  #begin(chunk: Record<string, unknown>): void {
    if (this.#begun) return
    this.#begun = true
    const message = {
      id: typeof chunk.id === 'string' ? chunk.id : '',
      type: 'message',
      role: 'assistant',
      model: typeof chunk.model === 'string' ? chunk.model : '',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: usageOf({ ...NO_USAGE, promptTokens: this.#options.promptTokens }),
    }
    this.#send('message_start', { message })
    this.#ping()
  }

  #ping(): void {
    if (this.#begun) this.#send('ping', {})
    else this.#out.push(': ping\n\n')
  }

  #start(content_block: Block): void {
    this.#close()
    this.#index++
    this.#send('content_block_start', { index: this.#index, content_block })
  }

  #delta(delta: Record<string, unknown>): void {
    this.#send('content_block_delta', { index: this.#index, delta })
  }

  #stop(): void {
    this.#open = null
    this.#send('content_block_stop', { index: this.#index })
  }

  #send(type: string, fields: Record<string, unknown>): void {
    this.#out.push(eventFrame(type, fields))
  }

  #taken(): Buffer | null {
    if (this.#out.length === 0) return null
    const bytes = Buffer.from(this.#out.join(''))
    this.#out = []
    return bytes
  }
}

export const eventFrame = (type: string, fields: Record<string, unknown>): string =>
  `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
