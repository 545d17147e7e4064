import { createParser } from 'eventsource-parser'
import type { Usage } from '../../candidates/usage.ts'
import { type OpenAIError, parseJson } from '../error.ts'
import { isObject } from '../is-object.ts'
import { MAX_EVENT_BYTES } from '../sse-observer.ts'
import { Output, type OutputEvent, type OutputOptions } from './output.ts'
import { headOf, type NewResource, nowS } from './plain.ts'
import { ending, type ResponseResource, responseError, usageOf } from './resource.ts'

export interface ResponseStreamOptions extends OutputOptions {
  create: NewResource
  /** As counted, or estimated; asked when the answer has ended. */
  usage: () => Usage
  finishReason: () => string | null
  /** Keeps the response. False where that could not be done. */
  keep: (response: ResponseResource) => Promise<boolean>
}

const PING = Buffer.from(': ping\n\n')

/** A stream of chat completion chunks as the events of the Responses format, in OpenAI's order. */
export class ResponseStream {
  readonly #options: ResponseStreamOptions
  readonly #output: Output
  readonly #decoder = new TextDecoder()
  readonly #parser: ReturnType<typeof createParser>
  #out: Buffer[] = []
  #sequence = 0
  #response: ResponseResource | null = null
  #isOver = false

  constructor(options: ResponseStreamOptions) {
    this.#options = options
    this.#output = new Output(options, (event) => this.#send(event))
    this.#parser = createParser({
      maxBufferSize: MAX_EVENT_BYTES,
      onEvent: ({ data }) => this.#take(data),
      onComment: () => void this.#out.push(PING),
    })
  }

  /** @throws Error where what came can't be told in this format */
  push(bytes: Uint8Array): Buffer | null {
    if (this.#isOver) return null
    this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    return this.#taken()
  }

  /** The answer is whole. */
  async end(): Promise<Buffer | null> {
    if (this.#isOver) return null
    this.#isOver = true
    const response = this.#begun({})
    const reason = this.#output.refused ? 'stop' : this.#options.finishReason()
    const end = ending(reason)
    this.#output.end(end.status === 'incomplete')
    Object.assign(response, end, {
      completed_at: end.status === 'completed' ? nowS() : null,
      output: this.#output.items,
      usage: usageOf(this.#options.usage()),
    })
    if (response.store) response.store = await this.#options.keep(response)
    this.#send({ type: `response.${end.status}`, response })
    return this.#taken()
  }

  /** The answer broke. */
  fail(error: OpenAIError): Buffer | null {
    if (this.#isOver) return null
    this.#isOver = true
    const response = this.#begun({})
    for (const item of this.#output.items) if (item.status === 'in_progress') item.status = 'incomplete'
    Object.assign(response, { output: this.#output.items, store: false })
    for (const event of failureEvents(error, response)) this.#send(event)
    return this.#taken()
  }

  #take(data: string): void {
    if (data.startsWith('[DONE]') || this.#isOver) return
    const chunk = parseJson(Buffer.from(data))
    if (!isObject(chunk) || chunk.error) return
    const choice: unknown = Array.isArray(chunk.choices) ? chunk.choices[0] : null
    this.#begun(chunk)
    if (isObject(choice) && isObject(choice.delta)) this.#output.take(choice.delta, choice.logprobs)
  }

  /** The first two events go out with the first chunk: it names the model. */
  #begun(chunk: Record<string, unknown>): ResponseResource {
    if (this.#response) return this.#response
    const response = this.#options.create(headOf(chunk))
    this.#response = response
    this.#send({ type: 'response.created', response })
    this.#send({ type: 'response.in_progress', response })
    return response
  }

  #send(event: OutputEvent): void {
    this.#out.push(eventFrame(event, this.#sequence++))
  }

  #taken(): Buffer | null {
    const [first, ...more] = this.#out
    this.#out = []
    return first && more.length > 0 ? Buffer.concat([first, ...more]) : (first ?? null)
  }
}

export const eventFrame = ({ type, ...fields }: OutputEvent, sequence: number): Buffer =>
  Buffer.from(`event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence, ...fields })}\n\n`)

/**
 * The last two events of an answer that broke, as OpenAI sends them. Its documentation has an error's fields in the
 * event itself, the specification and its servers in `error`: SDKs raise on either.
 *
 * @param response null where nothing of it has been told yet
 */
export function failureEvents(error: OpenAIError, response: ResponseResource | null): OutputEvent[] {
  const { message, type, code, param } = error
  const told = { type: 'error', code, message, param, error: { type, code, message, param } }
  if (!response) return [told]
  return [told, { type: 'response.failed', response: { ...response, status: 'failed', error: responseError(error) } }]
}
