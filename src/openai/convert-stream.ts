import { createParser } from 'eventsource-parser'
import type { Conversion } from './conversion.ts'
import { parseJson, saysError } from './error.ts'
import { endOf } from './finish-reason.ts'
import { isObject } from './is-object.ts'
import { type Asked, Mend } from './mend.ts'
import { DONE_FRAME, frame } from './sse.ts'

type Fields = Record<string, unknown>

/** A text of one chunk: a longer one comes in several, as any stream's would. */
const MOST_CHARS = 16 * 1024

/** A whole chat completion as the stream that says the same: chunks of each choice, its end, usage, `[DONE]`. */
export function streamOfCompletion(completion: Fields): Buffer {
  const { choices, usage, object: _, ...rest } = completion
  const head = { ...rest, object: 'chat.completion.chunk' }
  const frames = (choices as Fields[]).flatMap(({ message, finish_reason, logprobs, ...choice }, position) => {
    const delta: Fields = { role: 'assistant', ...(isObject(message) ? message : {}) }
    if (Array.isArray(delta.tool_calls)) delta.tool_calls = delta.tool_calls.map((call, index) => ({ index, ...call }))
    const index = choice.index ?? position
    const chunk = (of: Fields, finish: string | null, probabilities: unknown = null) =>
      frame({ ...head, choices: [{ index, delta: of, logprobs: probabilities, finish_reason: finish }] })
    const [first = {}, ...more] = deltasOf(delta)
    return [
      chunk(first, null, logprobs ?? null),
      ...more.map((of) => chunk(of, null)),
      chunk({}, endOf(finish_reason) ?? 'stop'),
    ]
  })
  if (isObject(usage)) frames.push(frame({ ...head, choices: [], usage }))
  return Buffer.concat([...frames, DONE_FRAME])
}

/** As `streamOfCompletion`, of a completion in JSON. */
export const completionAsStream: Conversion<null, null> = {
  module: import.meta.url,
  name: 'completionAsStream',
  run: (body) => ({ body: streamOfCompletion(parseJson(body) as Fields), told: null }),
}

/** Texts that clients join. */
const JOINED: ReadonlySet<string> = new Set(['content', 'refusal', 'reasoning_content', 'reasoning'])

/** What one delta says in several, of which none holds a long text: its own, and those of its calls. */
function deltasOf(delta: Fields): Fields[] {
  const more: Fields[] = []
  const first: Fields = {}
  for (const [name, value] of Object.entries(delta)) {
    const [piece, ...rest] = typeof value === 'string' && JOINED.has(name) ? piecesOf(value) : [value]
    first[name] = piece
    for (const text of rest) more.push({ [name]: text })
  }
  if (!Array.isArray(delta.tool_calls)) return [first, ...more]
  first.tool_calls = delta.tool_calls.map((call: Fields) => {
    const { index, function: called } = call
    if (!isObject(called) || typeof called.arguments !== 'string') return call
    const [piece, ...rest] = piecesOf(called.arguments)
    for (const text of rest) more.push({ tool_calls: [{ index, function: { arguments: text } }] })
    return rest.length === 0 ? call : { ...call, function: { ...called, arguments: piece } }
  })
  return [first, ...more]
}

/** Not within a character: who reads one piece by itself could not write it. */
function piecesOf(text: string): string[] {
  if (text.length <= MOST_CHARS) return [text]
  const pieces: string[] = []
  for (let at = 0; at < text.length; ) {
    const last = text.charCodeAt(at + MOST_CHARS - 1)
    const end = at + MOST_CHARS - (last >= 0xd800 && last < 0xdc00 ? 1 : 0)
    pieces.push(text.slice(at, end))
    at = end
  }
  return pieces
}

/**
 * The completion that a whole stream says; null where the stream is not whole, the error where it tells of one.
 */
export function completionOfStream(
  body: Buffer,
  asked: Asked = {},
): { completion: Fields | null } | { error: unknown } {
  const collector = new Collector(new Mend(asked))
  const parser = createParser({ onEvent: ({ data, event }) => collector.read(data, event) })
  parser.feed(`${body.toString('utf8')}\n\n`)
  return collector.error === null ? { completion: collector.completion() } : { error: collector.error }
}

class Collector {
  error: unknown = null
  #head: Fields = {}
  #usage: unknown = null
  #isDone = false
  readonly #mend: Mend
  readonly #choices = new Map<number, { message: Fields; finish: string | null; logprobs: unknown }>()

  constructor(mend: Mend) {
    this.#mend = mend
  }

  read(data: string, event: string | undefined): void {
    if (data.startsWith('[DONE]')) this.#isDone = true
    const chunk = parseJson(Buffer.from(data))
    if (!isObject(chunk)) return
    if (saysError(chunk.error) || event === 'error') this.error ??= saysError(chunk.error) ? chunk.error : chunk
    const { choices, usage, object: _, ...head } = this.#mend.mended(chunk) ?? chunk
    this.#head = { ...head, ...this.#head }
    if (isObject(usage)) this.#usage = usage
    this.#readChoices(choices)
  }

  completion(): Fields | null {
    this.#readChoices(this.#mend.rest(this.#isDone ? 'done' : 'end')?.choices)
    const choices = [...this.#choices].sort(([a], [b]) => a - b)
    const isWhole = this.#isDone || choices.every(([, { finish }]) => finish !== null)
    if (choices.length === 0 || !isWhole) return null
    return {
      ...this.#head,
      object: 'chat.completion',
      choices: choices.map(([index, { message, finish, logprobs }]) => ({
        index,
        message,
        logprobs,
        finish_reason: finish ?? 'stop',
      })),
      ...(this.#usage !== null && { usage: this.#usage }),
    }
  }

  #readChoices(choices: unknown): void {
    if (!Array.isArray(choices)) return
    for (const [position, choice] of choices.entries()) if (isObject(choice)) this.#readChoice(choice, position)
  }

  #readChoice(choice: Fields, position: number): void {
    const index = typeof choice.index === 'number' ? choice.index : position
    const known = this.#choices.get(index)
    const entry = known ?? { message: { role: 'assistant', content: null }, finish: null, logprobs: null }
    if (!known) this.#choices.set(index, entry)
    entry.finish ??= endOf(choice.finish_reason)
    entry.logprobs ??= choice.logprobs ?? null
    const delta = isObject(choice.delta) ? choice.delta : {}
    for (const [name, value] of Object.entries(delta)) {
      if (name === 'tool_calls' && Array.isArray(value)) addCalls(entry.message, value.filter(isObject))
      else if (name !== 'role') entry.message[name] = joined(entry.message[name], value)
    }
  }
}

function addCalls(message: Fields, parts: Fields[]): void {
  message.tool_calls ??= []
  const calls = message.tool_calls as Fields[]
  for (const { index, id, type, function: called, custom, ...more } of parts) {
    const at = typeof index === 'number' ? index : Math.max(0, calls.length - 1)
    calls[at] ??= isObject(custom)
      ? { type: 'custom', custom: { name: '', input: '' } }
      : { type: 'function', function: { name: '', arguments: '' } }
    const call = calls[at]
    if (typeof id === 'string' && id !== '') call.id = id
    if (typeof type === 'string' && type !== '') call.type = type
    addPieces(call, 'function', called)
    addPieces(call, 'custom', custom)
    for (const [name, value] of Object.entries(more)) call[name] = joined(call[name], value)
  }
}

function addPieces(call: Fields, field: 'function' | 'custom', pieces: unknown): void {
  if (!isObject(pieces)) return
  const known = isObject(call[field]) ? call[field] : {}
  call[field] = known
  for (const [name, piece] of Object.entries(pieces)) known[name] = joined(known[name], piece)
}

/** Pieces of text and of lists one after the other; of all else what came last. */
function joined(before: unknown, piece: unknown): unknown {
  if (piece === null || piece === undefined) return before ?? piece
  if (typeof before === 'string' && typeof piece === 'string') return before + piece
  return Array.isArray(before) && Array.isArray(piece) ? [...before, ...piece] : piece
}
