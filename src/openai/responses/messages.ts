import { UnsupportedRequest } from '../../errors.ts'
import type { ChatMessage } from '../chat.ts'
import { type InputItem, type Part, partsOf } from './items.ts'
import type { Thoughts } from './thoughts.ts'
import { CUSTOM_INPUT, chatNameOf } from './tools.ts'

export interface Messages {
  messages: ChatMessage[]
  /** What of the input chat completions can't express, told to the client. */
  dropped: string[]
  /** What must not be left out: only a provider with a Responses endpoint of its own can take the request. */
  problem: UnsupportedRequest | null
}

type Content = { type: string; [key: string]: unknown }

interface Assistant {
  role: 'assistant'
  content: string | null
  tool_calls?: Content[]
  reasoning_content?: string
  reasoning_details?: Record<string, unknown>[]
}

/**
 * Items as a chat's messages: what a model said, thought and called in one turn becomes one assistant message, tools'
 * results follow it, and their pictures come after those, in a message of the user: a tool's message holds text alone.
 *
 * @param open the thoughts in a reasoning item; null where they are not for this candidate
 */
export function messagesOf(
  instructions: string | null | undefined,
  items: readonly InputItem[],
  open: (item: InputItem) => Thoughts | null,
): Messages {
  const builder = new Builder(open)
  if (instructions) builder.say('system', [{ type: 'input_text', text: instructions }], 'instructions')
  for (const [index, item] of items.entries()) builder.add(item, `input.${index}`)
  return builder.end()
}

class Builder {
  readonly #open: (item: InputItem) => Thoughts | null
  readonly #messages: ChatMessage[] = []
  readonly #dropped = new Set<string>()
  #problem: UnsupportedRequest | null = null
  /** The turn of the model that is being put together. */
  #turn: Assistant | null = null
  /** What a model's thoughts hold of its calls, by their ids. */
  readonly #ofCalls = new Map<string, Record<string, unknown>>()
  /** Pictures and files in tools' results. */
  #shown: Content[] = []

  constructor(open: (item: InputItem) => Thoughts | null) {
    this.#open = open
  }

  add(item: InputItem, param: string): void {
    switch (item.type) {
      case 'message':
        this.#message(item, param)
        break
      case 'function_call':
        this.#call(item, item.arguments || '{}')
        break
      case 'custom_tool_call':
        this.#call(item, JSON.stringify({ [CUSTOM_INPUT]: item.input ?? '' }))
        break
      case 'function_call_output':
      case 'custom_tool_call_output':
        this.#result(item, param)
        break
      case 'reasoning':
        this.#think(item)
        break
      case 'compaction':
      case 'compaction_summary':
        // The conversation until then is in it, and nowhere else.
        this.#refuse('compacted conversations', param)
        break
      default:
        this.#dropped.add(`input.${item.type}`)
    }
  }

  end(): Messages {
    this.#endTurn()
    this.#show()
    return { messages: this.#messages, dropped: [...this.#dropped], problem: this.#problem }
  }

  /** Neighbours at the beginning are one: many servers take a single system message, and only there. */
  say(role: string, parts: readonly Part[], param: string): void {
    this.#endTurn()
    this.#show()
    const content = this.#content(parts, `${param}.content`)
    const text = plainText(content, role === 'system')
    const last = this.#messages.length === 1 ? this.#messages[0] : undefined
    if (role === 'system' && text !== null && last?.role === 'system' && typeof last.content === 'string') {
      last.content = `${last.content}\n\n${text}`
    } else this.#messages.push({ role, content: text ?? content })
  }

  #message({ role, content }: InputItem, param: string): void {
    const parts = partsOf(content)
    if (role === 'assistant') this.#speak(parts)
    // Newer than most servers; those that know it take system for the same.
    else this.say(role === 'developer' ? 'system' : role === 'tool' ? 'user' : String(role), parts, param)
  }

  #speak(parts: readonly Part[]): void {
    const all = parts.map(({ type, text, refusal }) => (type === 'refusal' ? String(refusal ?? '') : (text ?? '')))
    const said = all.join('')
    // Between a call and its result nothing may stand.
    if (said.trim() === '' && this.#turn?.tool_calls) return
    const turn = this.#turnFor('words')
    turn.content = (turn.content ?? '') + said
  }

  #call({ call_id: id = '', name = '', namespace }: InputItem, args: string): void {
    const turn = this.#turnFor('calls')
    const called = chatNameOf({ name, ...(typeof namespace === 'string' && { namespace }) })
    turn.tool_calls ??= []
    turn.tool_calls.push({
      ...this.#ofCalls.get(id),
      id,
      type: 'function',
      function: { name: called, arguments: args },
    })
  }

  #result({ call_id: id, output }: InputItem, param: string): void {
    this.#endTurn()
    const content = this.#content(partsOf(output), `${param}.output`)
    const text = content.filter(({ type }) => type === 'text').map((part) => String(part.text))
    const shown = content.filter(({ type }) => type !== 'text')
    if (shown.length > 0) {
      this.#shown.push({ type: 'text', text: `What the tool call ${String(id)} returned:` }, ...shown)
      if (text.length === 0) text.push('(see the next message)')
    }
    this.#messages.push({ role: 'tool', tool_call_id: id, content: text.join('\n') })
  }

  #think(item: InputItem): void {
    const thoughts = this.#open(item)
    if (!thoughts) return
    const { reasoning_content: text, reasoning_details: details, calls = {} } = thoughts
    for (const [id, fields] of Object.entries(calls)) this.#ofCalls.set(id, fields)
    // Those of calls alone belong to the turn that has begun.
    if (!text && !details?.length) return
    const turn = this.#turnFor('thoughts')
    if (text) turn.reasoning_content = [turn.reasoning_content, text].filter(Boolean).join('\n')
    if (details?.length) turn.reasoning_details = [...(turn.reasoning_details ?? []), ...details]
  }

  /** One turn is thoughts, then words, then calls; what comes in another order begins the next. */
  #turnFor(what: 'thoughts' | 'words' | 'calls'): Assistant {
    this.#show()
    const turn = this.#turn
    const isLater =
      what === 'thoughts' ? turn?.content !== null || turn.tool_calls : what === 'words' && turn?.tool_calls
    if (turn && isLater) this.#endTurn()
    this.#turn ??= { role: 'assistant', content: null }
    return this.#turn
  }

  #endTurn(): void {
    const turn = this.#turn
    this.#turn = null
    // Thoughts alone: an answer that was cut off before it said anything.
    if (turn && (turn.content !== null || turn.tool_calls)) this.#messages.push({ ...turn })
  }

  #show(): void {
    if (this.#shown.length === 0) return
    this.#messages.push({ role: 'user', content: this.#shown })
    this.#shown = []
  }

  #content(parts: readonly Part[], param: string): Content[] {
    return parts.flatMap((part, index) => this.#part(part, `${param}.${index}`))
  }

  #part(part: Part, param: string): Content[] {
    switch (part.type) {
      case 'input_image': {
        const { image_url: url, detail } = part
        if (typeof url !== 'string') return this.#refuse('images that are not given as image_url', param)
        return [{ type: 'image_url', image_url: { url, ...(typeof detail === 'string' && { detail }) } }]
      }
      case 'input_file':
        return this.#file(part, param)
      case 'input_audio':
        return [{ ...part }]
      case 'refusal':
        return [{ type: 'text', text: String(part.refusal ?? '') }]
      default:
        if (typeof part.text === 'string') return [{ type: 'text', text: part.text }]
        return this.#refuse(`content parts of type '${part.type}'`, `${param}.type`)
    }
  }

  #file({ file_data: data, filename, file_id: id }: Part, param: string): Content[] {
    const name = typeof filename === 'string' ? { filename } : {}
    if (typeof data === 'string') return [{ type: 'file', file: { file_data: data, ...name } }]
    if (typeof id === 'string') return [{ type: 'file', file: { file_id: id } }]
    return this.#refuse('files that are not given as file_data', param)
  }

  #refuse(what: string, param: string): Content[] {
    this.#problem ??= new UnsupportedRequest(`The model does not support ${what}.`, param)
    return []
  }
}

/** Text as a string, which every server takes; null where there is more than that. */
function plainText(content: readonly Content[], join: boolean): string | null {
  if (content.some(({ type }) => type !== 'text') || (content.length > 1 && !join)) return null
  return content.map(({ text }) => String(text)).join('\n')
}
