import { badGateway } from '../../errors.ts'
import { callThoughtsOf } from '../call-thoughts.ts'
import { isObject } from '../is-object.ts'
import { type InputItem, itemId, kindOf, type Part } from './items.ts'
import { addDetails, type CallThoughts, detailText, type Thoughts } from './thoughts.ts'
import { customInput, type ToolName } from './tools.ts'

/** Of one answer, two million tokens: it is told as a whole when it ends, four times over, so all of it is held. */
const MAX_CHARS = 8 * 1024 * 1024

/** What the gateway makes of an answer, beyond what its provider says. */
export interface OutputOptions {
  /** Id of the response. */
  response: string
  /** The client's tool that a function stands for. */
  named: (chatName: string) => ToolName
  seal: (thoughts: Thoughts) => string
}

/** Event of a stream, without its number. */
export type OutputEvent = { type: string; [field: string]: unknown }

type Open =
  | { kind: 'reasoning'; item: InputItem; text: string; details: Record<string, unknown>[]; calls: CallThoughts }
  | { kind: 'message'; item: InputItem; part: OutputPart | null }
  | { kind: 'call'; item: InputItem; key: string; args: string }

interface OutputPart extends Part {
  text?: string
  refusal?: string
  annotations?: unknown[]
  logprobs?: unknown[]
}

/**
 * Output items from the deltas of a chat completion, and the events that tell of them in OpenAI's order. One item is
 * open at a time: what belongs to another one closes it. A whole message is a single delta.
 */
export class Output {
  readonly items: InputItem[] = []
  /** Of all that was said. */
  #chars = 0
  readonly #options: OutputOptions
  readonly #emit: (event: OutputEvent) => void
  #open: Open | null = null
  #isRefusal = false

  constructor(options: OutputOptions, emit: (event: OutputEvent) => void = () => {}) {
    this.#options = options
    this.#emit = emit
  }

  /** The model declined to answer. */
  get refused(): boolean {
    return this.#isRefusal
  }

  /**
   * @param delta of a choice, or its message
   * @throws Error where a call goes on that had ended
   * @throws GatewayError 502 where the answer is larger than is held
   */
  take(delta: Record<string, unknown>, logprobs: unknown): void {
    this.#think(delta)
    const { content, refusal, annotations } = delta
    const text = contentText(content)
    if (text !== '') this.#say(text, logprobsOf(logprobs))
    if (typeof refusal === 'string' && refusal !== '') this.#refuse(refusal)
    if (Array.isArray(annotations)) for (const one of annotations) this.#annotate(one)
    const calls: unknown[] = Array.isArray(delta.tool_calls) ? delta.tool_calls : []
    for (const [position, call] of calls.entries()) if (isObject(call)) this.#call(call, position)
    if (this.#chars > MAX_CHARS) throw tooLarge()
  }

  /** Nothing more comes. @param cut the answer was not finished */
  end(cut: boolean): void {
    if (this.items.length === 0) this.#message()
    this.#close(cut ? 'incomplete' : 'completed')
  }

  #think(delta: Record<string, unknown>): void {
    const { reasoning_content: plain, reasoning, reasoning_details: details } = delta
    const said = [plain, reasoning].find((text): text is string => typeof text === 'string' && text !== '') ?? ''
    const given = Array.isArray(details) ? details : []
    if (said === '' && given.length === 0) return
    const open = this.#reasoning()
    // Where the thoughts were told in words, their details repeat them.
    const text = said !== '' ? said : open.text === '' ? given.map(detailText).join('') : ''
    addDetails(open.details, given)
    if (text !== '') this.#summarise(open, text)
  }

  #reasoning(): Open & { kind: 'reasoning' } {
    if (this.#open?.kind === 'reasoning') return this.#open
    const item = this.#begin('reasoning', { summary: [] })
    const open = { kind: 'reasoning' as const, item, text: '', details: [], calls: {} }
    this.#open = open
    return open
  }

  #summarise(open: Open & { kind: 'reasoning' }, delta: string): void {
    const at = { ...this.#at(), summary_index: 0 }
    if (open.text === '') {
      this.#emit({ type: 'response.reasoning_summary_part.added', ...at, part: { type: 'summary_text', text: '' } })
    }
    open.text += delta
    this.#chars += delta.length
    this.#emit({ type: 'response.reasoning_summary_text.delta', ...at, delta })
  }

  #message(): Open & { kind: 'message' } {
    if (this.#open?.kind === 'message') return this.#open
    const item = this.#begin('message', { status: 'in_progress', role: 'assistant', content: [] })
    const open = { kind: 'message' as const, item, part: null }
    this.#open = open
    return open
  }

  #part(type: 'output_text' | 'refusal'): OutputPart {
    const open = this.#message()
    if (open.part?.type === type) return open.part
    this.#closePart(open)
    const part: OutputPart =
      type === 'refusal' ? { type, refusal: '' } : { type, text: '', annotations: [], logprobs: [] }
    open.part = part
    open.item.content = [...((open.item.content as Part[]) ?? []), part]
    this.#emit({ type: 'response.content_part.added', ...this.#partAt(), part: structuredClone(part) })
    return part
  }

  #say(delta: string, logprobs: unknown[]): void {
    const part = this.#part('output_text')
    part.text += delta
    // One by one: arguments of a call are of a bounded number.
    for (const one of logprobs) part.logprobs?.push(one)
    this.#chars += delta.length
    this.#emit({ type: 'response.output_text.delta', ...this.#partAt(), delta, logprobs })
  }

  #refuse(delta: string): void {
    const part = this.#part('refusal')
    this.#isRefusal = true
    part.refusal += delta
    this.#chars += delta.length
    this.#emit({ type: 'response.refusal.delta', ...this.#partAt(), delta })
  }

  #annotate(given: unknown): void {
    const annotation = annotationOf(given)
    if (!annotation) return
    const part = this.#part('output_text')
    const index = part.annotations?.push(annotation) ?? 1
    this.#emit({
      type: 'response.output_text.annotation.added',
      ...this.#partAt(),
      annotation_index: index - 1,
      annotation,
    })
  }

  /** A call is told apart by its index; by its id where a server gives all of them the same, or none. */
  #call(call: Record<string, unknown>, position: number): void {
    const called = isObject(call.function) ? call.function : {}
    const id = typeof call.id === 'string' && call.id !== '' ? call.id : null
    const name = typeof called.name === 'string' && called.name !== '' ? called.name : null
    const open = this.#open?.kind === 'call' ? this.#open : null
    const key = typeof call.index === 'number' ? String(call.index) : id === null && open ? open.key : `p${position}`
    const isNew = !open || open.key !== key || (id !== null && name !== null && id !== open.item.call_id)
    if (isNew && name === null) throw new Error('a tool call goes on after another has begun')
    const args =
      typeof called.arguments === 'string'
        ? called.arguments
        : isObject(called.arguments)
          ? JSON.stringify(called.arguments)
          : ''
    const current = isNew ? this.#beginCall(key, id, String(name), callThoughtsOf(call)) : open
    if (args === '') return
    current.args += args
    this.#chars += args.length
    if (current.item.type !== 'function_call') return
    current.item.arguments = current.args
    this.#emit({ type: 'response.function_call_arguments.delta', ...this.#at(), delta: args })
  }

  /** @param thoughts that belong to the call: an item has no place for them, so they go sealed before it */
  #beginCall(
    key: string,
    id: string | null,
    chatName: string,
    thoughts: Record<string, unknown> | null,
  ): Open & { kind: 'call' } {
    const { name, namespace, isCustom } = this.#options.named(chatName)
    const thinking = thoughts && this.#reasoning()
    const callId = id ?? itemId('call', this.#options.response, this.items.length)
    if (thinking) thinking.calls[callId] = thoughts
    const item = this.#begin(isCustom ? 'custom_tool_call' : 'function_call', {
      status: 'in_progress',
      call_id: callId,
      name,
      ...(namespace !== undefined && { namespace }),
      ...(isCustom ? { input: '' } : { arguments: '' }),
    })
    const open = { kind: 'call' as const, item, key, args: '' }
    this.#open = open
    return open
  }

  #begin(type: string, fields: Record<string, unknown>): InputItem {
    this.#close('completed')
    const item: InputItem = { id: itemId(kindOf(type), this.#options.response, this.items.length), type, ...fields }
    this.items.push(item)
    this.#emit({
      type: 'response.output_item.added',
      output_index: this.items.length - 1,
      item: structuredClone(item),
    })
    return item
  }

  #close(status: 'completed' | 'incomplete'): void {
    const open = this.#open
    if (!open) return
    switch (open.kind) {
      case 'reasoning':
        this.#closeReasoning(open)
        break
      case 'message':
        if (!open.part) this.#part('output_text')
        this.#closePart(open)
        open.item.status = status
        break
      case 'call':
        this.#closeCall(open)
        open.item.status = status
        break
    }
    this.#open = null
    this.#emit({ type: 'response.output_item.done', output_index: this.items.length - 1, item: open.item })
  }

  #closeReasoning({ item, text, details, calls }: Open & { kind: 'reasoning' }): void {
    const part = { type: 'summary_text', text }
    if (text !== '') {
      const at = { ...this.#at(), summary_index: 0 }
      this.#emit({ type: 'response.reasoning_summary_text.done', ...at, text })
      this.#emit({ type: 'response.reasoning_summary_part.done', ...at, part })
      item.summary = [part]
    }
    item.encrypted_content = this.#options.seal({
      ...(text !== '' && { reasoning_content: text }),
      ...(details.length > 0 && { reasoning_details: details }),
      ...(Object.keys(calls).length > 0 && { calls }),
    })
  }

  #closePart(open: Open & { kind: 'message' }): void {
    const { part } = open
    if (!part) return
    const at = this.#partAt()
    const { text, refusal, logprobs } = part
    if (part.type === 'refusal') this.#emit({ type: 'response.refusal.done', ...at, refusal })
    else this.#emit({ type: 'response.output_text.done', ...at, text, logprobs })
    this.#emit({ type: 'response.content_part.done', ...at, part })
    open.part = null
  }

  #closeCall({ item, args }: Open & { kind: 'call' }): void {
    if (item.type === 'custom_tool_call') {
      const input = customInput(args)
      item.input = input
      if (input !== '') {
        this.#emit({ type: 'response.custom_tool_call_input.delta', ...this.#at(), delta: input })
      }
      this.#emit({ type: 'response.custom_tool_call_input.done', ...this.#at(), input })
      return
    }
    // A call without arguments has no deltas, but clients parse what they get.
    item.arguments = args === '' ? '{}' : args
    this.#emit({
      type: 'response.function_call_arguments.done',
      ...this.#at(),
      name: item.name,
      arguments: item.arguments,
    })
  }

  #at(): { item_id: unknown; output_index: number } {
    const index = this.items.length - 1
    return { item_id: this.items[index]?.id, output_index: index }
  }

  #partAt() {
    const content = this.items.at(-1)?.content
    return { ...this.#at(), content_index: (Array.isArray(content) ? content.length : 1) - 1 }
  }
}

/** Text, or (Mistral's) parts of it. */
function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content.map((part) => (isObject(part) && typeof part.text === 'string' ? part.text : '')).join('')
}

/** Nested in chat completions, flat here. */
function annotationOf(given: unknown): Record<string, unknown> | null {
  if (!isObject(given) || given.type !== 'url_citation') return null
  const { url, title, start_index, end_index } = isObject(given.url_citation) ? given.url_citation : given
  if (typeof url !== 'string') return null
  return {
    type: 'url_citation',
    url,
    title: typeof title === 'string' ? title : url,
    start_index: Number.isInteger(start_index) ? start_index : 0,
    end_index: Number.isInteger(end_index) ? end_index : 0,
  }
}

interface TokenLogprob {
  token: unknown
  logprob: unknown
  bytes?: unknown
  top_logprobs?: unknown
}

/** Logprobs of a choice in a response's words. */
export function logprobsOf(logprobs: unknown): unknown[] {
  const content = isObject(logprobs) && Array.isArray(logprobs.content) ? (logprobs.content as TokenLogprob[]) : []
  const one = ({ token, logprob, bytes }: TokenLogprob) => ({
    token,
    logprob,
    bytes: Array.isArray(bytes) ? bytes : [],
  })
  return content.map((entry) => ({
    ...one(entry),
    top_logprobs: (Array.isArray(entry.top_logprobs) ? (entry.top_logprobs as TokenLogprob[]) : []).map(one),
  }))
}

const tooLarge = () => badGateway(`The model's answer has more than ${MAX_CHARS} characters: no response holds that.`)
