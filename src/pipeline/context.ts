import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Live } from '../config/snapshot.ts'
import type { GatewayError } from '../errors.ts'
import { PassingMap } from '../runtime/ephemeral-map.ts'
import type { Caller } from './authenticate.ts'

/** One request and its answer, with what holds for the whole of it. */
export interface Exchange {
  requestId: string
  /** When it arrived: on `performance.now()`'s clock, and in Unix milliseconds. */
  startedAt: number
  ts: number
  incoming: IncomingMessage
  outgoing: ServerResponse
  caller: Caller
  /** The configuration it is served under. */
  live: Live
  /** Aborted when the client leaves, or (with a `GatewayError` as its reason) when the process must end. */
  signal: AbortSignal
}

/** Exchanges in work: the process ends when there are none, or cuts them. */
export class Exchanges {
  readonly #open = new PassingMap<Pick<Exchange, 'outgoing' | 'live'> & { controller: AbortController }>()
  readonly #waiting = new Map<Live, () => void>()

  get size(): number {
    return this.#open.size
  }

  begin(incoming: IncomingMessage, outgoing: ServerResponse, caller: Caller, live: Live): Exchange {
    const controller = new AbortController()
    const requestId = `req_${randomUUID()}`
    const end = () => {
      this.#open.delete(requestId)
      if (!outgoing.writableFinished) controller.abort()
      this.#tellWhenUnused(live)
    }
    this.#open.set(requestId, { outgoing, live, controller })
    // Who left while we looked up who it is does not leave again.
    if (outgoing.destroyed) end()
    else outgoing.once('close', end)
    return {
      requestId,
      startedAt: performance.now(),
      ts: Date.now(),
      incoming,
      outgoing,
      caller,
      live,
      signal: controller.signal,
    }
  }

  /** Resolves when nothing is served any more under a configuration that was replaced. */
  async unused(live: Live): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.set(live, resolve)
      this.#tellWhenUnused(live)
    })
  }

  /** What has not begun to be answered will say that its connection ends with it. */
  closeAfterAnswers(): void {
    for (const [, { outgoing }] of this.#open) outgoing.shouldKeepAlive = false
  }

  /** Ends what is still open; a stream's client is told by a last event. */
  cut(reason: GatewayError): void {
    for (const [, { controller }] of this.#open) controller.abort(reason)
  }

  #tellWhenUnused(live: Live): void {
    const tell = this.#waiting.get(live)
    if (!tell || [...this.#open].some(([, exchange]) => exchange.live === live)) return
    this.#waiting.delete(live)
    tell()
  }
}
