import { GatewayError } from '../errors.ts'

export interface AdmissionOptions {
  maxConcurrent: number
  maxQueue: number
}

const LONG_PER_TENANT = 2
const LONG_QUEUE = 100

/** A request that waits for a place. */
interface Waiting {
  priority: number
  enter: () => void
  refuse: (error: GatewayError) => void
}

/**
 * Bounds the requests in work. Further ones wait, the highest priority first; when the queue is full, the one of lowest
 * priority is refused.
 */
export class Admission {
  #options: AdmissionOptions
  #inWork = 0
  readonly #queue: Waiting[] = []
  readonly #long = new Map<string, { running: number; waiting: (() => void)[] }>()

  constructor(options: AdmissionOptions) {
    this.#options = options
  }

  configure(options: AdmissionOptions): void {
    this.#options = options
  }

  get queued(): number {
    return this.#queue.length
  }

  /** Does the work of a request in its turn. @throws GatewayError 503 with `retry-after` when it is refused */
  async run<T>(priority: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.enter(priority, signal)
    try {
      return await work()
    } finally {
      this.leave()
    }
  }

  /**
   * Does work that takes long and must not take all: so much of a tenant at a time, the rest in its turn.
   *
   * @throws GatewayError 429 with `retry-after` where too much waits
   */
  async runLong<T>(tenant: string, work: () => Promise<T>): Promise<T> {
    const long = this.#long.get(tenant) ?? { running: 0, waiting: [] }
    this.#long.set(tenant, long)
    if (long.running < LONG_PER_TENANT) long.running++
    else if (long.waiting.length < LONG_QUEUE) await new Promise<void>((begin) => long.waiting.push(begin))
    else throw tooManyLong()
    try {
      return await work()
    } finally {
      const next = long.waiting.shift()
      if (next) next()
      else if (--long.running === 0) this.#long.delete(tenant)
    }
  }

  /**
   * Admits a request; call `leave` once when it is over.
   *
   * @returns undefined where it may go on at once, else a promise that resolves when it may
   * @throws GatewayError 503 with `retry-after` when it is refused
   */
  enter(priority: number, signal: AbortSignal): Promise<void> | undefined {
    if (this.#inWork >= this.#options.maxConcurrent) return this.#wait(priority, signal)
    this.#inWork++
    return undefined
  }

  async #wait(priority: number, signal: AbortSignal): Promise<void> {
    if (this.#queue.length >= this.#options.maxQueue && !this.#shedBelow(priority)) throw overloaded()
    await new Promise<void>((enter, refuse) => {
      const waiting: Waiting = { priority, enter, refuse }
      const at = this.#queue.findIndex((other) => other.priority < priority)
      this.#queue.splice(at < 0 ? this.#queue.length : at, 0, waiting)
      signal.addEventListener('abort', () => {
        const index = this.#queue.indexOf(waiting)
        if (index >= 0) {
          this.#queue.splice(index, 1)
          refuse(overloaded())
        }
      })
    })
  }

  leave(): void {
    const next = this.#queue.shift()
    if (next) next.enter()
    else this.#inWork--
  }

  #shedBelow(priority: number): boolean {
    const last = this.#queue.at(-1)
    if (!last || last.priority >= priority) return false
    this.#queue.pop()
    last.refuse(overloaded())
    return true
  }
}

const tooManyLong = () =>
  new GatewayError('Too many users of this tenant are being exported or erased. Please try again later.', {
    status: 429,
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    retryAfterS: 1,
  })

const overloaded = () =>
  new GatewayError('The gateway is overloaded. Please try again later.', {
    status: 503,
    type: 'api_error',
    code: 'overloaded',
    retryAfterS: 1,
  })
