import type { ChatRequest } from '../../openai/chat.ts'
import { isObject } from '../../openai/is-object.ts'

/** What of a request's prompt the estimate of its texts (`promptTokens`) does not look at: at most, in tokens. */
export interface Attached {
  /** Files, sound, film, and all texts beside those of messages and tools: what is likely. */
  tokens: number
  /** The same at most, and what the provider's own tools find; without pictures. */
  most: number
  pictures: number
  /** Of one, all details are asked for. */
  isInDetail: boolean
  /** What a provider's cache is asked to keep for an hour is dearer to write. */
  isForAnHour: boolean
  /** Of pictures' and sounds' data, in the body. */
  mediaChars: number
}

/** A file that the provider has, or fetches, and what its own tools find: nobody here knows how long that is. */
const UNSEEN_TOKENS = 100_000
/** Base64 of a file of text, or of a film of few pictures, holds about a token in four characters. */
const CHARS_PER_TOKEN = 4
/** Of sound at 32 kbit/s; at most: MP3 at 8 kbit/s to Gemini, which counts 32 tokens a second. */
const CHARS_PER_TOKEN_OF_SOUND = 400
const LEAST_CHARS_PER_TOKEN_OF_SOUND = 40
/** The same of what is not compressed: 8,000 bytes a second. */
const LEAST_CHARS_PER_TOKEN_OF_WAVES = 320
/** `RIFF`, in base64. */
const WAVES = /^UklGR/
/** Of one that `promptTokens` does not see, with its margin. */
const USUAL_TOKENS_OF_PICTURE = 1_200

/** Fields that `promptTokens` counts. */
const COUNTED: ReadonlySet<string> = new Set(['model', 'messages', 'tools', 'functions', 'response_format'])
/** Fields that no provider puts into a prompt. */
const NO_PROMPT: ReadonlySet<string> = new Set(
  'metadata user safety_identifier prompt_cache_key stop logit_bias stream_options'.split(' '),
)
const COUNTED_OF_MESSAGES: ReadonlySet<string> = new Set(['role', 'content', 'tool_calls'])
const COUNTED_OF_PARTS: ReadonlySet<string> = new Set(['type', 'text'])
const ADDRESS = /^https?:\/\//i
const ADDRESS_FIELD = /^(.+_)?url$|^file_data$/
const PICTURE = /^(input_)?image$/
/** What is cited, called or made: it names files and addresses that are not in the prompt for it. */
const NAMES_ALONE = /citation|_call$|tool_use$|code_execution_output$/
const CITING: ReadonlySet<string> = new Set(['citations', 'annotations'])
/** Tools that the provider runs, in any format: what they find it puts into the prompt. */
const HOSTED_TOOL = /^([a-z]+:)?(web_search|web_fetch|file_search|code_interpreter|code_execution|mcp)/

const found = new WeakMap<ChatRequest['body'], Attached>()

/** Looked for once, however many candidates are looked at. */
export function attachedTo({ body, asGiven }: ChatRequest): Attached {
  let attached = found.get(body)
  if (attached === undefined) {
    const finder = new Finder()
    finder.chat(body)
    if (asGiven !== undefined) finder.given(asGiven)
    attached = finder.attached
    found.set(body, attached)
  }
  return attached
}

class Finder {
  #bytes = 0
  #soundChars = 0
  #mostOfSound = 0
  #mediaChars = 0
  #pictures = 0
  #files = 0
  /** The same as the request's own format tells them. */
  #filesGiven = 0
  #tools = 0
  #isInDetail = false
  #isForAnHour = false

  get attached(): Attached {
    return {
      tokens:
        Math.ceil(this.#bytes / CHARS_PER_TOKEN) +
        Math.ceil(this.#soundChars / CHARS_PER_TOKEN_OF_SOUND) +
        UNSEEN_TOKENS * Math.max(this.#files, this.#filesGiven),
      most:
        this.#bytes +
        Math.ceil(this.#mostOfSound) +
        UNSEEN_TOKENS * (Math.max(this.#files, this.#filesGiven) + this.#tools),
      pictures: this.#pictures,
      isInDetail: this.#isInDetail,
      isForAnHour: this.#isForAnHour,
      mediaChars: this.#mediaChars,
    }
  }

  chat(body: ChatRequest['body']): void {
    for (const field in body) if (!COUNTED.has(field) && !NO_PROMPT.has(field)) this.#bytes += textBytes(body[field])
    this.#mark(body)
    for (const message of body.messages) {
      this.#mark(message)
      for (const field in message) if (!COUNTED_OF_MESSAGES.has(field)) this.#beside(field, message[field])
      if (Array.isArray(message.content)) for (const part of message.content) this.#part(part)
    }
    if (Array.isArray(body.tools)) this.#hosted(body.tools)
  }

  /** An answer may come back whole, with pictures (OpenRouter's `images`) and its voice (OpenAI's `audio`). */
  #beside(field: string, value: unknown): void {
    if (field === 'audio') this.#sound(value)
    else if (field === 'images' && Array.isArray(value)) {
      for (const picture of value) {
        if (isPart(picture)) this.#part(picture)
        else this.#bytes += textBytes(picture)
        this.#bytes += USUAL_TOKENS_OF_PICTURE * CHARS_PER_TOKEN
      }
    } else this.#bytes += textBytes(value)
  }

  /** What a provider of the request's own format reads, and a chat completion has no word for. */
  given(value: unknown): void {
    if (Array.isArray(value)) {
      for (const item of value) this.given(item)
      return
    }
    if (!isObject(value)) return
    this.#mark(value)
    const { file_id: file, file_url: fileUrl, url, source, result } = value
    const type = typeOf(value)
    if (NAMES_ALONE.test(type)) {
      if (type === 'image_generation_call' && typeof result === 'string') this.#made(result)
      return
    }
    if (type === 'computer_screenshot') {
      this.#made(typeof value.image_url === 'string' ? value.image_url : '')
      return
    }
    if (PICTURE.test(type)) {
      // Others were told as a chat.
      if (typeof (isObject(source) ? source : value).file_id === 'string') this.#pictures++
      return
    }
    if ([file, fileUrl, type === 'url' ? url : null].some((named) => typeof named === 'string')) this.#filesGiven++
    for (const [field, inner] of Object.entries(value)) {
      if (field === 'tools' && Array.isArray(inner)) this.#hosted(inner)
      else if (field === 'prompt' && isObject(inner)) this.#filesGiven++
      else if (!CITING.has(field)) this.given(inner)
    }
  }

  /** A picture that no chat tells. */
  #made(data: string): void {
    this.#mediaChars += data.length
    this.#pictures++
    this.#bytes += USUAL_TOKENS_OF_PICTURE * CHARS_PER_TOKEN
  }

  #hosted(tools: readonly unknown[]): void {
    for (const tool of tools) {
      if (!isObject(tool)) continue
      if (HOSTED_TOOL.test(typeOf(tool))) this.#tools++
      this.#mark(tool)
      if (isObject(tool.function)) this.#mark(tool.function)
    }
  }

  /** https://platform.claude.com/docs/en/build-with-claude/prompt-caching */
  #mark({ cache_control: mark }: Readonly<Record<string, unknown>>): void {
    if (isObject(mark) && mark.ttl === '1h') this.#isForAnHour = true
  }

  #part(part: Readonly<Record<string, unknown>>): void {
    this.#mark(part)
    for (const field in part) {
      const value = part[field]
      if (COUNTED_OF_PARTS.has(field) && typeof value === 'string') continue
      if (part.type === 'image_url' && field === 'image_url') {
        this.#pictures++
        if (isObject(value) && value.detail === 'original') this.#isInDetail = true
        this.#media(value, 'url')
      } else if (part.type === 'input_audio' && field === 'input_audio') this.#sound(value)
      else if (isNamed(field, value)) this.#files++
      else this.#bytes += textBytes(value)
    }
  }

  #sound(value: unknown): void {
    const chars = this.#media(value, 'data')
    const data = isObject(value) ? value.data : value
    this.#soundChars += chars
    const isWaves = typeof data === 'string' && WAVES.test(data)
    this.#mostOfSound += chars / (isWaves ? LEAST_CHARS_PER_TOKEN_OF_WAVES : LEAST_CHARS_PER_TOKEN_OF_SOUND)
  }

  /** @returns characters of its data; what stands beside it counts as text */
  #media(value: unknown, field: string): number {
    const data = isObject(value) ? value[field] : value
    const chars = typeof data === 'string' ? data.length : 0
    this.#mediaChars += chars
    if (!isObject(value)) return chars
    const { [field]: _, ...beside } = value
    this.#bytes += textBytes(typeof data === 'string' ? beside : value)
    return chars
  }
}

const typeOf = ({ type }: Readonly<Record<string, unknown>>) => (typeof type === 'string' ? type : '')
const isPart = (value: unknown): value is Readonly<Record<string, unknown>> => isObject(value) && !Array.isArray(value)

/** A file that is elsewhere: at the provider, or at an address that it fetches. */
function isNamed(field: string, value: unknown): boolean {
  if (typeof value === 'string') return field === 'file_id' || (ADDRESS_FIELD.test(field) && ADDRESS.test(value))
  return isObject(value) && Object.entries(value).some(([name, inner]) => isNamed(name, inner))
}

/** Of all strings in a value, and of its fields' names. */
function textBytes(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value)
  if (typeof value !== 'object' || value === null) return 0
  let bytes = 0
  if (Array.isArray(value)) for (const item of value) bytes += textBytes(item)
  else for (const [name, inner] of Object.entries(value)) bytes += Buffer.byteLength(name) + textBytes(inner)
  return bytes
}
