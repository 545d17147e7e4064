import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import { openDispatcher } from '../runtime/dispatcher.ts'
import { fairTimeout } from '../runtime/fair-timer.ts'
import { atMost } from '../runtime/lru.ts'
import { proxyFor } from '../runtime/proxy.ts'
import { clipText, type MaxChars } from './clip-text.ts'
import { type Embedder, EmbedderError } from './embedder.ts'

export interface OpenAIEmbedderOptions {
  /** Up to and without `/embeddings`. */
  baseUrl: string
  apiKey?: string | undefined
  model: string
  /**
   * A longer vector is cut to so many numbers, as text-embedding-3 and other Matryoshka models allow; a shorter one is
   * an error.
   */
  dim: number
  timeoutMs: number
  /** Vectors kept, by hash of the text. */
  cacheSize?: number
  /** Concurrent requests; more are refused with `overload`. */
  maxPending?: number
}

/** About 2,000 tokens of English: under the window of every common model. */
const LIMIT: MaxChars = { head: 6144, tail: 2048 }
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

const answerSchema = z.object({ data: z.array(z.object({ embedding: z.array(z.number()) })).min(1) })

/**
 * An endpoint that speaks OpenAI's `POST /v1/embeddings`. One try, one deadline: callers have a fallback.
 */
export class OpenAIEmbedder implements Embedder {
  readonly version: string
  readonly dim: number
  readonly #options: OpenAIEmbedderOptions
  readonly #path: string
  readonly #origin: string
  readonly #dispatcher: Dispatcher
  readonly #cache: LRUCache<string, Float32Array>
  /** Pending requests by the same hash, so that a text is asked for once. */
  readonly #pending = new Map<string, Promise<Float32Array>>()

  /** Throws `EmbedderError` (`load`) for an invalid address. */
  constructor(options: OpenAIEmbedderOptions) {
    const url = parseUrl(options.baseUrl)
    this.version = `openai/${options.model}/${options.dim}`
    this.dim = options.dim
    this.#options = options
    this.#path = `${url.pathname.replace(/\/+$/, '')}/embeddings${url.search}`
    this.#origin = url.origin
    this.#dispatcher = openDispatcher({
      origin: url.origin,
      connections: 64,
      connectTimeoutMs: options.timeoutMs,
      maxResponseBytes: MAX_ANSWER_BYTES,
      proxy: proxyFor(url.origin, undefined),
      tls: {},
      http2: false,
    })
    this.#cache = new LRUCache(atMost(options.cacheSize ?? 10_000))
  }

  /** An empty text has the zero vector; endpoints refuse it. */
  async embed(text: string): Promise<Float32Array> {
    const clipped = clipText(text, LIMIT)
    if (clipped.trim() === '') return new Float32Array(this.dim)
    const key = createHash('sha256').update(clipped).digest('base64')
    const known = this.#cache.get(key)
    return (known ?? (await this.#askOnce(key, clipped))).slice()
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy()
  }

  #askOnce(key: string, text: string): Promise<Float32Array> {
    const pending = this.#pending.get(key)
    if (pending) return pending
    const limit = this.#options.maxPending ?? 256
    if (this.#pending.size >= limit) {
      return Promise.reject(new EmbedderError('overload', `${limit} texts wait for the embeddings endpoint`))
    }
    const asked = this.#ask(text)
      .then((vector) => {
        this.#cache.set(key, vector)
        return vector
      })
      .finally(() => this.#pending.delete(key))
    this.#pending.set(key, asked)
    return asked
  }

  async #ask(text: string): Promise<Float32Array> {
    const { apiKey, model, timeoutMs } = this.#options
    const signal = fairTimeout(timeoutMs)
    try {
      const { statusCode, body } = await this.#dispatcher.request({
        origin: this.#origin,
        method: 'POST',
        path: this.#path,
        headers: { 'content-type': 'application/json', ...(apiKey && { authorization: `Bearer ${apiKey}` }) },
        body: JSON.stringify({ model, input: text, encoding_format: 'float' }),
        signal,
      })
      if (statusCode !== 200) {
        await body.dump()
        throw new EmbedderError('upstream', `the embeddings endpoint answered ${statusCode}`)
      }
      return toVector(await body.json(), this.dim)
    } catch (error) {
      if (error instanceof EmbedderError) throw error
      if (signal.aborted) throw new EmbedderError('timeout', `no embedding within ${timeoutMs} ms`)
      const code = (error as { code?: unknown }).code
      throw new EmbedderError('upstream', `no embedding${typeof code === 'string' ? `: ${code}` : ''}`, error)
    }
  }
}

/** Length 1. */
function toVector(answer: unknown, dim: number): Float32Array {
  const parsed = answerSchema.safeParse(answer)
  if (!parsed.success) throw new EmbedderError('upstream', 'the embeddings endpoint answered in another shape')
  const numbers = parsed.data.data[0]!.embedding
  if (numbers.length < dim) {
    throw new EmbedderError('upstream', `the embeddings endpoint gave ${numbers.length} numbers, not ${dim}`)
  }
  const vector = Float32Array.from(numbers.slice(0, dim))
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0))
  if (!(length > 0 && length < Number.POSITIVE_INFINITY)) {
    throw new EmbedderError('upstream', 'the embeddings endpoint gave a vector without a direction')
  }
  return vector.map((value) => value / length)
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (!url || !['http:', 'https:'].includes(url.protocol) || url.username || url.password) {
    throw new EmbedderError('load', 'embedder: base_url must be an http or https address without credentials')
  }
  return url
}
