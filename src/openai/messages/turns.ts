import { UnsupportedRequest } from '../../errors.ts'
import { isObject } from '../is-object.ts'
import { type Block, blocksOf, type MessagesBody, type Turn } from './body.ts'
import { isThought, openThought, type Thought } from './thoughts.ts'

type Part = Record<string, unknown>
type Message = { role: string; content: string | Part[] | null; [key: string]: unknown }

export interface ConvertOptions {
  /** Whose own thoughts go back to it; null drops all. */
  candidate: string | null
  /** Marks up to where a prompt is cached, which Anthropic's models take through other providers, too. */
  keepsCacheMarks: boolean
}

export interface Converted {
  messages: Message[]
  /** What chat completions have no word for, by its place. */
  dropped: string[]
  /** Why it can't be told as a chat completion at all, or null. */
  problem: UnsupportedRequest | null
  /** Something in it is told one candidate and not another. */
  differs: boolean
}

/** Claude Code's first line of a prompt, other with each request: for Anthropic's bill alone, and it spoils caches. */
const BILLING = /^x-anthropic-billing-header:/

/** System prompt and turns of a Messages request as a chat's messages. */
export function messagesOf({ system, messages }: MessagesBody, options: ConvertOptions): Converted {
  const converter = new Converter(options)
  const instructions = blocksOf(system).filter(({ text }) => !BILLING.test(text ?? ''))
  converter.add('system', instructions, 'system')
  messages.forEach((turn, index) => {
    converter.turn(turn, `messages.${index}`)
  })
  return converter.result
}

class Converter {
  readonly result: Converted = { messages: [], dropped: [], problem: null, differs: false }
  readonly #options: ConvertOptions

  constructor(options: ConvertOptions) {
    this.#options = options
  }

  turn({ role, content }: Turn, param: string): void {
    const blocks = blocksOf(content)
    if (role === 'assistant') this.#assistant(blocks, param)
    else if (role === 'system') this.add('system', blocks, param)
    else this.#user(blocks, param)
  }

  add(role: string, blocks: readonly Block[], param: string): void {
    const content = this.#content(blocks, param)
    if (content !== null) this.result.messages.push({ role, content })
  }

  /** Results of tools are messages of their own, before what the user says; images in them become the user's. */
  #user(blocks: readonly Block[], param: string): void {
    const said: Block[] = []
    blocks.forEach((block, index) => {
      if (block.type !== 'tool_result') {
        said.push(block)
        return
      }
      const result = blocksOf(block.content as string | Block[] | undefined)
      const texts = result.flatMap((part, at) => this.#textOf(part, `${param}.content.${index}.content.${at}`))
      const failed = block.is_error === true ? ['Error:'] : []
      this.result.messages.push({
        role: 'tool',
        tool_call_id: String(block.tool_use_id ?? ''),
        content: [...failed, ...texts].join(block.is_error === true ? ' ' : '\n'),
      })
      said.push(...result.filter(({ type }) => type === 'image' || type === 'document'))
    })
    this.add('user', said, param)
  }

  #assistant(blocks: readonly Block[], param: string): void {
    const texts: string[] = []
    const calls: Part[] = []
    const thoughts: Thought[] = []
    const ofCalls = new Map<string, Part>()
    blocks.forEach((block, index) => {
      if (block.type === 'text') texts.push(block.text ?? '')
      else if (block.type === 'tool_use') calls.push({ ...ofCalls.get(String(block.id)), ...callOf(block) })
      else if (isThought(block)) {
        this.result.differs = true
        const opened = openThought(block)
        if (opened?.candidate !== this.#options.candidate) return
        const { call } = opened.thought
        if (call) ofCalls.set(call.id, call.fields)
        else thoughts.push(opened.thought)
      } else if (typeof block.type === 'string' && block.type.endsWith('_tool_result')) {
        texts.push(...this.#textOf(block, `${param}.content.${index}`))
      } else this.result.dropped.push(`${param}.content.${index}`)
    })
    const text = texts.filter((piece) => piece !== '').join('\n\n')
    if (text === '' && calls.length === 0) return
    this.result.messages.push({
      role: 'assistant',
      content: text === '' ? null : text,
      ...(calls.length > 0 && { tool_calls: calls }),
      ...thoughtFields(thoughts),
    })
  }

  /** One string where all is text: every server takes that. */
  #content(blocks: readonly Block[], param: string): string | Part[] | null {
    const parts = blocks.flatMap((block, index) => this.#part(block, `${param}.content.${index}`))
    if (parts.length === 0) return null
    const isPlain = parts.every(({ type, cache_control: mark }) => type === 'text' && mark === undefined)
    return isPlain ? parts.map(({ text }) => text).join('\n\n') : parts
  }

  #part(block: Block, param: string): Part[] {
    if (block.cache_control) this.result.differs = true
    const mark = this.#options.keepsCacheMarks && block.cache_control ? { cache_control: block.cache_control } : {}
    switch (block.type) {
      case 'text':
        return block.text ? [{ type: 'text', text: block.text, ...mark }] : []
      case 'image': {
        const url = this.#url(block.source, param)
        return url === null ? [] : [{ type: 'image_url', image_url: { url }, ...mark }]
      }
      case 'document':
        return this.#document(block, mark, param)
      default: {
        const texts = this.#textOf(block, param)
        return texts.map((text) => ({ type: 'text', text }))
      }
    }
  }

  #document({ source, title }: Block, mark: Part, param: string): Part[] {
    const { type, data, content } = isObject(source) ? source : {}
    const name = typeof title === 'string' && title !== '' ? title : 'document'
    if (type === 'text') return [{ type: 'text', text: `${name}:\n${String(data ?? '')}`, ...mark }]
    if (type === 'content') {
      return blocksOf(content as string | Block[]).flatMap((inner, at) => this.#part(inner, `${param}.source.${at}`))
    }
    const url =
      type === 'base64' ? this.#url(source, param) : this.#refuse('documents that are not in the request', param)
    const filename = /\.[a-z0-9]{2,5}$/i.test(name) ? name : `${name}.pdf`
    return url === null ? [] : [{ type: 'file', file: { filename, file_data: url }, ...mark }]
  }

  #url(source: unknown, param: string): string | null {
    const { type, media_type: media, data, url } = isObject(source) ? source : {}
    if (type === 'base64' && typeof data === 'string') return `data:${String(media)};base64,${data}`
    if (type === 'url' && typeof url === 'string') return url
    return this.#refuse('content that is stored with another provider', `${param}.source`)
  }

  /** What a block says in words; images in tools' results are told of beside it. */
  #textOf(block: Block, param: string): string[] {
    if (block.type === 'text') return block.text ? [block.text] : []
    if (block.type === 'image' || block.type === 'document') return []
    const { title, source, url, content } = block
    const inner = Array.isArray(content)
      ? (content as Block[]).flatMap((part, index) => this.#textOf(part, `${param}.content.${index}`))
      : []
    const head = [title, typeof source === 'string' ? source : url].filter((word) => typeof word === 'string')
    const texts = head.length > 0 ? [`${head.join(' ')}`, ...inner] : inner
    if (texts.length === 0) this.result.dropped.push(param)
    return texts
  }

  #refuse(what: string, param: string): null {
    this.result.problem ??= new UnsupportedRequest(`This model does not take ${what}.`, param)
    return null
  }
}

const callOf = ({ id, name, input }: Block): Part => ({
  id: String(id ?? ''),
  type: 'function',
  function: { name: String(name ?? ''), arguments: JSON.stringify(input ?? {}) },
})

/** In the fields that the candidate itself used. */
function thoughtFields(thoughts: readonly Thought[]): Part {
  if (thoughts.length === 0) return {}
  const isSigned = thoughts.some(({ signature, data }) => signature !== undefined || data !== undefined)
  if (!isSigned) return { reasoning_content: thoughts.map(({ text }) => text ?? '').join('\n') }
  return {
    reasoning_details: thoughts.map(({ text = '', signature, data, id, format, isSummary }, index) => ({
      ...(data !== undefined
        ? { type: 'reasoning.encrypted', data }
        : isSummary
          ? { type: 'reasoning.summary', summary: text }
          : { type: 'reasoning.text', text, ...(signature !== undefined && { signature }) }),
      ...(id !== undefined && { id }),
      ...(format !== undefined && { format }),
      index,
    })),
  }
}
