import { createParser } from 'eventsource-parser'
import type { Usage } from '../candidates/usage.ts'
import { parseJson } from './error.ts'
import { isObject } from './is-object.ts'
import { usageOf } from './responses/native.ts'
import { parseUsage } from './usage.ts'

/** Larger answers are files, or hold pictures: what they say of usage is not looked for. */
const MAX_BYTES = 1024 * 1024

/**
 * Looks in an answer of any of OpenAI's endpoints, as it goes by, for the model that it names and the usage that it
 * tells.
 */
export class ToldUsage {
  usage: Usage | null = null
  model: string | null = null
  readonly #kind: 'document' | 'events' | null
  #pieces: Uint8Array[] = []
  #size = 0
  readonly #decoder = new TextDecoder()
  readonly #parser = createParser({ maxBufferSize: MAX_BYTES, onEvent: ({ data }) => this.#read(Buffer.from(data)) })

  constructor(contentType = '') {
    this.#kind = /json/i.test(contentType) ? 'document' : /event-stream/i.test(contentType) ? 'events' : null
  }

  push(bytes: Uint8Array): void {
    if (this.#kind === 'events') this.#parser.feed(this.#decoder.decode(bytes, { stream: true }))
    if (this.#kind !== 'document' || this.#size > MAX_BYTES) return
    this.#size += bytes.length
    if (this.#size > MAX_BYTES) this.#pieces = []
    else this.#pieces.push(bytes)
  }

  end(): void {
    if (this.#pieces.length > 0) this.#read(Buffer.concat(this.#pieces))
  }

  #read(body: Buffer): void {
    const json = parseJson(body)
    if (!isObject(json)) return
    const told = isObject(json.response) ? json.response : json
    this.usage = parseUsage(told.usage) ?? usageOf(told.usage) ?? this.usage
    if (typeof told.model === 'string') this.model = told.model
  }
}
