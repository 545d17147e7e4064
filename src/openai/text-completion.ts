import { createParser } from 'eventsource-parser'
import type { Conversion } from './conversion.ts'
import { errorFrame, type OpenAIError, parseJson } from './error.ts'
import { largeFacts } from './error-in-answer.ts'
import { isObject } from './is-object.ts'
import { DONE_FRAME, frame } from './sse.ts'
import { MAX_EVENT_BYTES } from './sse-observer.ts'
import type { LargeFacts, PlainFacts } from './stream-observer.ts'
import { parseUsage } from './usage.ts'

const PING = Buffer.from(': ping\n\n')

/** The same from bytes to bytes. @see textCompletionOf */
export const chatAsText: Conversion<{ before: string }, null> = {
  module: import.meta.url,
  name: 'chatAsText',
  run: (body, { before }) => ({
    body: Buffer.from(JSON.stringify(textCompletionOf(parseJson(body), before))),
    told: null,
  }),
}

/** A chat completion as a legacy text completion. @param before what the client wants to have repeated */
export function textCompletionOf(completion: unknown, before: string): Record<string, unknown> {
  const { id, created, model, choices, usage, system_fingerprint } = isObject(completion) ? completion : {}
  return {
    id,
    object: 'text_completion',
    created,
    model,
    ...(system_fingerprint !== undefined && { system_fingerprint }),
    choices: (Array.isArray(choices) ? choices.filter(isObject) : []).map(({ index, message, finish_reason }) => ({
      text: before + textOf(message),
      index,
      logprobs: null,
      finish_reason: finish_reason === 'tool_calls' ? 'stop' : finish_reason,
    })),
    ...(usage !== undefined && { usage }),
  }
}

const textOf = (said: unknown): string => {
  if (!isObject(said)) return ''
  return ([said.content, said.refusal].find((text) => typeof text === 'string') as string | undefined) ?? ''
}

/** What is to be known of a legacy text completion; null where it is none. */
export function factsOfText(json: unknown): PlainFacts | null {
  if (!isObject(json) || !Array.isArray(json.choices)) return null
  const choices = json.choices.filter(isObject)
  const reason = choices.find((choice) => typeof choice.finish_reason === 'string')?.finish_reason
  return {
    usage: parseUsage(json.usage),
    finishReason: typeof reason === 'string' ? reason : null,
    completionId: typeof json.id === 'string' ? json.id : null,
    outputChars: choices.reduce((sum, { text }) => sum + (typeof text === 'string' ? text.length : 0), 0),
  }
}

export const factsOfTextAnswer: Conversion<null, LargeFacts> = {
  module: import.meta.url,
  name: 'factsOfTextAnswer',
  run: (body) => ({ body, told: largeFacts(parseJson(body), factsOfText) }),
}

/** A stream of chat completion chunks as one of text completions. */
export class TextStream {
  readonly #before: string
  readonly #begun = new Set<unknown>()
  readonly #decoder = new TextDecoder()
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_BYTES,
    onEvent: ({ data }) => this.#take(data),
    onComment: () => void this.#out.push(PING),
  })
  #out: Buffer[] = []
  #isOver = false

  /** @param before what the client wants to have repeated */
  constructor(before: string) {
    this.#before = before
  }

  push(bytes: Uint8Array): Buffer | null {
    if (!this.#isOver) this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    return this.#taken()
  }

  end(): Buffer | null {
    if (this.#isOver) return null
    this.#isOver = true
    return DONE_FRAME
  }

  fail(error: OpenAIError): Buffer | null {
    if (this.#isOver) return null
    this.#isOver = true
    return errorFrame(error)
  }

  #take(data: string): void {
    if (data.startsWith('[DONE]')) return
    const chunk = parseJson(Buffer.from(data))
    if (!isObject(chunk) || chunk.error || !Array.isArray(chunk.choices)) return
    const choices = chunk.choices.filter(isObject).flatMap(({ index, delta, finish_reason }) => {
      const text = (this.#begun.has(index) ? '' : this.#before) + textOf(delta)
      this.#begun.add(index)
      return text === '' && (finish_reason ?? null) === null ? [] : [{ text, index, logprobs: null, finish_reason }]
    })
    if (choices.length === 0 && !isObject(chunk.usage)) return
    const { id, created, model, usage } = chunk
    this.#out.push(
      frame({ id, object: 'text_completion', created, model, choices, ...(usage !== undefined && { usage }) }),
    )
  }

  #taken(): Buffer | null {
    const [first, ...more] = this.#out
    this.#out = []
    return first && more.length > 0 ? Buffer.concat([first, ...more]) : (first ?? null)
  }
}
