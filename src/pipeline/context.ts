import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Snapshot } from '../config/snapshot.ts'
import type { GatewayError } from '../errors.ts'
import { EphemeralMap } from '../runtime/ephemeral-map.ts'
import type { Caller } from './authenticate.ts'

/** One request and its answer, with what holds for the whole of it. */
export interface RequestContext {
  requestId: string
  /** When it arrived: on `performance.now()`'s clock, and in Unix milliseconds. */
  startedAt: number
  ts: number
  incoming: IncomingMessage
  outgoing: ServerResponse
  caller: Caller
  /** The configuration it is served under. */
  snapshot: Snapshot
  /** Aborted when the client leaves, or (with a `GatewayError` as its reason) when the process must end. */
  signal: AbortSignal
}

/** Exchanges in work: the process ends when there are none, or cuts them. */
export class RequestContexts {
  readonly #open = new EphemeralMap<Pick<RequestContext, 'outgoing' | 'snapshot'> & { controller: AbortController }>()
  readonly #waiting = new Map<Snapshot, () => void>()

  get size(): number {
    return this.#open.size
  }

  begin(incoming: IncomingMessage, outgoing: ServerResponse, caller: Caller, snapshot: Snapshot): RequestContext {
    const controller = new AbortController()
    const requestId = `req_${randomUUID()}`
    const end = () => {
      this.#open.delete(requestId)
      if (!outgoing.writableFinished) controller.abort()
      this.#tellWhenUnused(snapshot)
    }
    this.#open.set(requestId, { outgoing, snapshot, controller })
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
      snapshot,
      signal: controller.signal,
    }
  }

  /** Resolves when nothing is served any more under a configuration that was replaced. */
  async unused(snapshot: Snapshot): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.set(snapshot, resolve)
      this.#tellWhenUnused(snapshot)
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

  #tellWhenUnused(snapshot: Snapshot): void {
    const tell = this.#waiting.get(snapshot)
    if (!tell || [...this.#open].some(([, context]) => context.snapshot === snapshot)) return
    this.#waiting.delete(snapshot)
    tell()
  }
}
