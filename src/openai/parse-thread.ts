import { Worker } from 'node:worker_threads'
import { invalidRequest } from '../errors.ts'
import { END } from '../runtime/end-worker.ts'
import { inOwnMemory } from '../runtime/own-memory.ts'
import type { Conversion } from './conversion.ts'
import { noteParsed, type RawBody } from './raw-body.ts'
import type { LargeFacts } from './stream-observer.ts'

/** Parsing so much takes some milliseconds at most. */
export const LARGE_BYTES = 1024 * 1024
/** What parsing took stays in the thread's memory. */
const IDLE_MS = 10_000

export interface ParseJob {
  bytes: ArrayBuffer
  /** It is to be converted. Where there is none, it is a request's body. */
  conversion?: { module: string; name: string; args: unknown }
}

export type ParseAnswer = { bytes: ArrayBuffer } & (
  | { parsed: RawBody }
  /** Of a conversion; where it failed, which is a mistake of ours, the lines of its stack. */
  | { converted: { told: unknown } }
  | { failedAt: string[] }
  /** A refusal, with the field that it is about; null where something else went wrong. */
  | { refused: { message: string; param: string | null } | null }
)

interface Job {
  job: ParseJob
  done: (answer: ParseAnswer) => void
  fail: (error: unknown) => void
}

/**
 * Parses what is large on a thread of its own, one after the other, tenants in turn: twenty megabytes take a hundred
 * milliseconds, in which nobody else would be served. What comes back is copied, which takes a tenth of that.
 */
export class ParseThread {
  #worker: Worker | null = null
  #running: Job | null = null
  readonly #waiting = new Map<string, Job[]>()
  #idle: NodeJS.Timeout | undefined

  /**
   * @param raw alone in its memory, which is the thread's meanwhile
   * @returns the same bytes, parsed: `parseRawBody` gives what they are
   * @throws GatewayError 400 as `parseRawBody`
   */
  async parse(raw: Buffer<ArrayBuffer>, tenant: string): Promise<Buffer> {
    const answer = await this.#run({ bytes: raw.buffer }, tenant)
    const same = Buffer.from(answer.bytes)
    if ('parsed' in answer) {
      noteParsed(same, answer.parsed)
      return same
    }
    throw 'refused' in answer && answer.refused
      ? invalidRequest(answer.refused.message, answer.refused.param)
      : new Error('a body could not be parsed')
  }

  /**
   * @param raw alone in its memory, which is the thread's meanwhile
   * @throws Error where the conversion does, without its message: it might hold what was converted
   */
  async convert<Args, Told>(conversion: Conversion<Args, Told>, raw: Buffer<ArrayBuffer>, args: Args, tenant: string) {
    const { module, name } = conversion
    const answer = await this.#run({ bytes: raw.buffer, conversion: { module, name, args } }, tenant)
    if ('converted' in answer) return { body: Buffer.from(answer.bytes), told: answer.converted.told as Told }
    const error = new Error(`a large body could not be converted: ${name}`)
    if ('failedAt' in answer) error.stack = [`Error: ${error.message}`, ...answer.failedAt].join('\n')
    throw error
  }

  #run(job: ParseJob, tenant: string): Promise<ParseAnswer> {
    return new Promise((done, fail) => {
      const waiting = this.#waiting.get(tenant)
      if (waiting) waiting.push({ job, done, fail })
      else this.#waiting.set(tenant, [{ job, done, fail }])
      this.#next()
    })
  }

  #next(): void {
    while (!this.#running) {
      const [first] = this.#waiting
      if (!first) {
        this.#idle ??= setTimeout(() => this.#end(), IDLE_MS).unref()
        return
      }
      clearTimeout(this.#idle)
      this.#idle = undefined
      const [tenant, [job, ...later]] = first as [string, [Job, ...Job[]]]
      this.#waiting.delete(tenant)
      if (later.length > 0) this.#waiting.set(tenant, later)
      this.#hand(job)
    }
  }

  /** Where no thread can be had, and where a body can't be handed over, that body fails: the next is tried anew. */
  #hand(one: Job): void {
    try {
      this.#worker ??= this.#start()
      this.#worker.postMessage(one.job, [one.job.bytes])
      this.#running = one
    } catch (error) {
      void this.#worker?.terminate()
      this.#worker = null
      one.fail(error)
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL('./parse-worker.ts', import.meta.url))
    worker.unref()
    worker.on('message', (answer: ParseAnswer) => {
      if (this.#worker === worker) this.#settle(answer)
    })
    worker.on('error', (error) => this.#died(worker, error))
    worker.on('messageerror', (error) => this.#died(worker, error))
    worker.on('exit', () => this.#died(worker, new Error('the thread that parses bodies has ended')))
    return worker
  }

  #settle(answer: ParseAnswer): void {
    const job = this.#running
    this.#running = null
    job?.done(answer)
    this.#next()
  }

  #died(worker: Worker, error: Error): void {
    if (this.#worker !== worker) return
    this.#worker = null
    void worker.terminate()
    const job = this.#running
    this.#running = null
    job?.fail(error)
    this.#next()
  }

  #end(): void {
    const worker = this.#worker
    this.#worker = null
    this.#idle = undefined
    worker?.postMessage(END)
  }
}

/** One of the process: what is large, of all tenants, is parsed there in turn. */
export const parseThread = new ParseThread()

/** Converts a body: a large one on the thread. @param tenant whose turn it takes there */
export function converted<Args, Told>(conversion: Conversion<Args, Told>, body: Buffer, args: Args, tenant: string) {
  if (body.length <= LARGE_BYTES) return conversion.run(body, args)
  return parseThread.convert(conversion, inOwnMemory(body), args, tenant)
}

/** What is to be known of a whole answer, of a large one, off this thread. */
export const readLargeBy =
  (facts: Conversion<null, LargeFacts>) => async (answer: Buffer<ArrayBuffer>, tenant: string) => {
    const { body, told } = await parseThread.convert(facts, answer, null, tenant)
    return { body, ...told }
  }
