import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Snapshot } from '../config/snapshot.ts'
import { GatewayError } from '../errors.ts'
import type { Telemetry } from '../observability/telemetry/telemetry.ts'
import type { RequestTrace } from '../observability/telemetry/trace.ts'
import { EphemeralMap } from '../runtime/ephemeral-map.ts'
import type { Authenticator, Caller } from './authenticate.ts'
import type { HeldBytes, Holding } from './held-bytes.ts'
import { identityHeaders, refuseRepeatedHeaders } from './principal.ts'
import type { RequestIds } from './request-ids.ts'
import { userOfToken } from './user-token.ts'

/** A request, its response, and all that stays the same from its start to its end. */
export interface RequestContext {
  requestId: string
  /** When it began, its key looked up: on `performance.now()`'s clock, and in Unix milliseconds. */
  startedAt: number
  ts: number
  incoming: IncomingMessage
  outgoing: ServerResponse
  caller: Caller
  /** The configuration under which it is served. */
  snapshot: Snapshot
  /** Aborted when the client leaves, or (with a `GatewayError` as its reason) when the process must end. */
  signal: AbortSignal
  /** Null where no traces are asked for. */
  trace: RequestTrace | null
  /** Of its body, until it ends. */
  held: Holding
}

export interface BeginDeps {
  /** The configuration in force. */
  snapshot(): Snapshot
  authenticator: Authenticator
  requests: RequestContexts
  /** Null where none is configured. */
  telemetry: Telemetry | null
}

/**
 * The start of every request below `/v1`: its key, and the configuration that it keeps to its end.
 *
 * @throws GatewayError 400, 401
 */
export function beginRequest(
  deps: BeginDeps,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): RequestContext | Promise<RequestContext> {
  const snapshot = deps.snapshot()
  const { identity } = snapshot.config
  refuseRepeatedHeaders(incoming, identityHeaders(identity))
  const begin = (caller: Caller) => beginAs(deps, incoming, outgoing, caller, snapshot)
  const caller = deps.authenticator.authenticate(incoming.headers)
  // A key first: without one, nobody learns what a token is worth.
  if (identity.jwt && (identity.from === 'any' || identity.from === 'token')) {
    return withUser(caller, () => userOfToken(identity.jwt, incoming)).then(begin)
  }
  return caller instanceof Promise ? caller.then(begin) : begin(caller)
}

/** The same where it is known who asks: by their session in the console. */
export function beginAs(
  { requests, telemetry }: Pick<BeginDeps, 'requests' | 'telemetry'>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  caller: Caller,
  snapshot: Snapshot,
): RequestContext {
  const context = requests.begin(incoming, outgoing, caller, snapshot)
  if (telemetry) context.trace = telemetry.follow(context)
  return context
}

/** @throws GatewayError 403 where a bound key comes with somebody else's token */
async function withUser(found: Caller | Promise<Caller>, user: () => Promise<string> | null): Promise<Caller> {
  const caller = await found
  const named = await user()
  if (named === null) return caller
  if (caller.user !== undefined && caller.user !== named) {
    throw new GatewayError('The user token names another user than the key is for.', {
      status: 403,
      type: 'permission_error',
      code: 'user_mismatch',
    })
  }
  return { ...caller, user: named }
}

/** Requests in work: the process ends when there are none, or cuts them. */
export class RequestContexts {
  /** Whether the process is about to end. */
  isDraining = false
  /** How many began so far. */
  begun = 0
  readonly #open = new EphemeralMap<Pick<RequestContext, 'outgoing' | 'snapshot'> & { controller: AbortController }>()
  readonly #waiting = new Map<Snapshot, () => void>()
  readonly #held: HeldBytes
  readonly #ids: RequestIds

  constructor(held: HeldBytes, ids: RequestIds) {
    this.#held = held
    this.#ids = ids
  }

  get size(): number {
    return this.#open.size
  }

  begin(incoming: IncomingMessage, outgoing: ServerResponse, caller: Caller, snapshot: Snapshot): RequestContext {
    this.begun++
    // It came before the end was announced, and begins after it.
    if (this.isDraining) outgoing.shouldKeepAlive = false
    const controller = new AbortController()
    const ts = Date.now()
    const requestId = this.#ids.next(caller.tenant, ts)
    const held = this.#held.open(caller.tenant)
    const end = () => {
      this.#open.delete(requestId)
      held.release()
      if (!outgoing.writableFinished) controller.abort()
      this.#tellWhenUnused(snapshot)
    }
    this.#open.set(requestId, { outgoing, snapshot, controller })
    // A client that left while its key was looked up does not leave again.
    if (outgoing.destroyed) end()
    else outgoing.once('close', end)
    return {
      requestId,
      startedAt: performance.now(),
      ts,
      incoming,
      outgoing,
      caller,
      snapshot,
      signal: controller.signal,
      trace: null,
      held,
    }
  }

  /** Resolves when no request is served any more under a configuration that was replaced. */
  async unused(snapshot: Snapshot): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#waiting.set(snapshot, resolve)
      this.#tellWhenUnused(snapshot)
    })
  }

  /** Answers that have not begun yet will say that their connection ends with them. */
  drain(): void {
    this.isDraining = true
    for (const [, { outgoing }] of this.#open) outgoing.shouldKeepAlive = false
  }

  /** Ends every open request; a stream's client is told by a last event. */
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
