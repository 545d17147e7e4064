import type { Candidate } from '../../candidates/candidate.ts'
import { GatewayError } from '../../errors.ts'
import {
  type Amounts,
  type Charge,
  type Limit,
  type LimitState,
  type Limits,
  NO_AMOUNTS,
  type Reservation,
  type ReserveRequest,
  userScope,
} from '../../store/limits.ts'
import type { InteractionRecord } from '../../store/records/codec.ts'
import { StoreError } from '../../store/store.ts'
import type { Call } from '../call.ts'
import type { RequestContext } from '../context.ts'
import { KnownRefusals } from '../known-refusals.ts'
import type { Principal } from '../principal.ts'
import { type Limited, limitsOf, otherLimitsOf } from './bounds.ts'
import { affordable, mostTokens, toReserve } from './estimate.ts'
import { rateLimitHeaders } from './headers.ts'
import { type Held, LocalCounts, type Lost } from './local-counts.ts'
import { nothingOf, Owed } from './owed.ts'
import { BudgetError, refusal, TokensError } from './refusal.ts'
import { usedBy, withCosts } from './used.ts'

/** A reservation of one request: made before it is forwarded, settled when it has ended. */
export interface Grant {
  /** OpenAI's `x-ratelimit-*`. */
  headers: Headers
  /** The longest answer of a candidate that is paid for; null: any. */
  mostTokens(candidate: Candidate): number | null
  /** Those of some candidates whose answer is paid for, if it is short. */
  affordable(candidates: readonly Candidate[]): readonly Candidate[]
  /** The record with what each try cost, where there was more to pay for than the answer. */
  withCosts(record: InteractionRecord): InteractionRecord
  /** @param record of the answer, with its costs; null where there was none */
  settle(record: InteractionRecord | null): void
}

/** A limit, and where it stands. */
export interface Standing {
  limit: Limit
  state: LimitState
}

/** What a quota tells of itself, and where it keeps what must not be lost. */
export interface QuotaEvents {
  onStoreError(call: 'reserve' | 'settle'): void
  /** A tenant's limits are counted here from now on. */
  onLocal?(tenant: string, reason: string): void
  /** The store counts again, and has what was owed. */
  onBack?(tenant: string): void
  /** Budgets of a tenant were lost by the store, and are brought back. */
  onLost?(tenant: string, counters: number): void
  /** Keeps a charge until the store has it, beyond the end of this process. */
  keep?(charge: Charge): void
}

type Headers = Record<string, string>
type Settle = (amounts: Amounts) => void

const UNLIMITED = { headers: {}, settle: () => {} }
const FREE: Omit<Grant, 'withCosts'> = { ...UNLIMITED, mostTokens: () => null, affordable: (candidates) => candidates }
const ONE_REQUEST: Amounts = { requests: 1, tokens: 0, nanoUsd: 0 }

/** Longer than any request takes. */
const TTL_MARGIN_MS = 60_000

/**
 * Tokens, dollars and requests under the limits of tenant, key and user. Reserves before the answer, and settles off
 * the request path. While the store can't be asked, limits are counted here (`limits.when_store_is_away`), and what
 * requests came to is told when it is back: once, however often it is sent.
 */
export class Quota {
  readonly #limits: Limits
  readonly #events: QuotaEvents
  readonly #counts = new LocalCounts()
  readonly #known = new KnownRefusals()
  /** By tenant, as long as the store is owed something of it. */
  readonly #owed = new Map<string, Owed>()

  constructor(limits: Limits, events: QuotaEvents) {
    this.#limits = limits
    this.#events = events
  }

  /**
   * Reserves what the longest answer of the dearest of `candidates` costs, under all limits or under none. Near the end
   * of a budget an answer without a bound reserves less, and gets one (`Grant.mostTokens`).
   *
   * @param left of the budget with the least left, where a refusal has told: the request is reserved anew
   * @throws GatewayError 429 with `retry-after`; 503 where the store is away and limits are to hold exactly
   */
  async reserve(
    context: Pick<RequestContext, 'requestId' | 'snapshot'>,
    call: Call,
    candidates: readonly Candidate[] = call.model.candidates,
    left?: number,
  ): Promise<Grant> {
    const { tenant, keyId, user } = call.principal
    const limits = limitsOf(tenant, keyId, user)
    if (limits.length === 0)
      return { ...FREE, withCosts: (record) => withCosts(record, call, Number.POSITIVE_INFINITY) }
    const known = {
      nanoUsd: left ?? this.#counts.leftOf(tenant.name, limits, 'nanoUsd'),
      tokens: this.#counts.leftOf(tenant.name, limits, 'tokens'),
    }
    const { amounts, likely } = toReserve(call, candidates, known, left !== undefined)
    const { headers, settle } = await this.#reserveUnder(context, tenant.name, limits, amounts, likely)
    const hasBudget = limits.some(({ what }) => what === 'nanoUsd')
    const reserved = hasBudget ? amounts.nanoUsd : Number.POSITIVE_INFINITY
    return {
      headers,
      mostTokens: (candidate) => (hasBudget ? mostTokens(call, candidate, reserved) : null),
      affordable: (some) => (hasBudget ? affordable(call, some, reserved) : some),
      withCosts: (record) => withCosts(record, call, reserved),
      settle: (record) => settle(record ? usedBy(record, call) : NO_AMOUNTS),
    }
  }

  /**
   * Reserves a request of which tokens and dollars are known later, or never; it counts as one request, however it
   * ends.
   *
   * @param least what it takes of the limits until it is settled, by what is left of a budget as far as is known
   * @throws GatewayError as `reserve`
   */
  async reserveRequest(
    context: RequestContext,
    principal: Principal,
    least: (left: number | null) => Amounts = () => ONE_REQUEST,
  ): Promise<{ headers: Headers; settle(used?: Amounts): void }> {
    const { tenant, keyId, user } = principal
    const limits = limitsOf(tenant, keyId, user)
    const amounts = least(this.#counts.leftOf(tenant.name, limits, 'nanoUsd'))
    const reserve = async (of: Amounts, requestId = context.requestId) => {
      const { headers, settle } = await this.#reserveUnder(
        { requestId, snapshot: context.snapshot },
        tenant.name,
        limits,
        of,
      )
      return { headers, settle: (used = ONE_REQUEST) => settle(used) }
    }
    try {
      return await reserve(amounts)
    } catch (error) {
      // Others have spent more than was known.
      const less = error instanceof BudgetError ? least(error.left) : amounts
      if (less.nanoUsd >= amounts.nanoUsd) throw error
      return reserve(less, `${context.requestId}+`)
    }
  }

  /** Whether `refuseKnown` would refuse anybody. */
  get knowsRefusals(): boolean {
    return this.#known.size > 0
  }

  /** Refuses a request under a limit that is known to be used up. @throws GatewayError 429 with `retry-after` */
  refuseKnown(request: object, { tenant, keyId, user }: Limited): void {
    const scopes = ['tenant', ...(keyId === null ? [] : [`key:${keyId}`]), ...(user === null ? [] : [userScope(user)])]
    this.#known.refuse(request, tenant.name, scopes)
  }

  /**
   * Counts a request that is no answer (feedback, a profile, a list), in buckets of their own.
   *
   * @throws GatewayError as `reserve`
   */
  async countOther(context: Pick<RequestContext, 'requestId' | 'snapshot'>, who: Limited): Promise<void> {
    const limits = otherLimitsOf(who)
    this.#known.refuse(
      context,
      who.tenant.name,
      limits.map(({ scope }) => scope),
    )
    const { settle } = await this.#reserveUnder(context, who.tenant.name, limits, ONE_REQUEST)
    settle(ONE_REQUEST)
  }

  /** Where the limits of a request of this key and user stand. @throws StoreError */
  async look({ tenant, keyId, user }: Pick<Principal, 'tenant' | 'keyId' | 'user'>): Promise<Standing[]> {
    const limits = limitsOf(tenant, keyId, user)
    const states = await this.#limits.look(tenant.name, limits)
    return limits.map((limit, i) => ({ limit, state: states[i] as LimitState }))
  }

  /** Tenants that are counted here, how much the store is to be told of them, and processes that share limits. */
  status(): { tenants: number; owed: number; replicas: number } {
    const owed = [...this.#owed.values()].reduce((sum, { size }) => sum + size, 0)
    return { tenants: this.#owed.size, owed, replicas: this.#limits.replicas }
  }

  /** Tells the store once more what it is owed. */
  async close(): Promise<void> {
    const all = [...this.#owed.values()]
    await Promise.all(all.map((owed) => owed.settle()))
    for (const owed of all) owed.stop()
  }

  async #reserveUnder(
    context: Pick<RequestContext, 'requestId' | 'snapshot'>,
    tenant: string,
    limits: Limit[],
    amounts: Amounts,
    likely = amounts,
  ): Promise<{ headers: Headers; settle: Settle }> {
    if (limits.length === 0) return UNLIMITED
    try {
      return await this.#reserveAll(context, tenant, limits, amounts, likely)
    } catch (error) {
      // More than is likely is a wish, where it is no money. The same id would be the same reservation.
      if (!(error instanceof TokensError) || amounts.tokens === likely.tokens) throw error
      const anew = { ...context, requestId: `${context.requestId}*` }
      return this.#reserveAll(anew, tenant, limits, { ...amounts, tokens: likely.tokens }, likely)
    }
  }

  async #reserveAll(
    { requestId, snapshot: { config } }: Pick<RequestContext, 'requestId' | 'snapshot'>,
    tenant: string,
    limits: Limit[],
    amounts: Amounts,
    likely: Amounts,
  ): Promise<{ headers: Headers; settle: Settle }> {
    const ttlMs = config.timeouts.total_ms + TTL_MARGIN_MS
    const request = { tenant, id: requestId, limits, amounts, ttlMs }
    const owed = this.#owed.get(tenant)
    if (owed && !owed.isSettling) return this.#reserveHere(request, likely, config.limits.when_store_is_away)
    let reservation: Reservation
    try {
      reservation = await this.#reserveThere(request)
    } catch (error) {
      this.#events.onStoreError('reserve')
      return this.#reserveHere(request, likely, config.limits.when_store_is_away, error)
    }
    if (!reservation.granted) throw this.#refused(request, reservation)
    this.#known.granted(tenant, limits)
    const held = this.#counts.hold(tenant, limits, amounts)
    const at = Date.now()
    return {
      headers: rateLimitHeaders(limits, reservation, difference(amounts, likely)),
      settle: (used) => void this.#settle(request, held, used, at),
    }
  }

  async #reserveThere(request: ReserveRequest): Promise<Reservation> {
    const reservation = await this.#limits.reserve(request)
    const { tenant, limits, amounts } = request
    const lost = this.#counts.told(tenant, limits, reservation.states, reservation.granted ? amounts : null)
    return lost.length === 0 ? reservation : this.#restore(request, lost, reservation)
  }

  /** Brings counters back that the store has lost, and looks whether the request still fits. */
  async #restore(request: ReserveRequest, lost: readonly Lost[], reservation: Reservation): Promise<Reservation> {
    const { tenant, id, limits } = request
    this.#events.onLost?.(tenant, lost.length)
    const restoring = lost.map(({ limit, amount }) => this.#limits.restore(tenant, limit, amount))
    const [states] = await Promise.all([this.#limits.look(tenant, limits), ...restoring])
    for (const { limit, amount } of lost) {
      const state = states[limits.indexOf(limit)]
      if (!state) continue
      state.used = Math.max(state.used, amount)
      state.remaining = Math.max(0, limit.max - state.used)
    }
    const over = lost.find(({ limit }) => (states[limits.indexOf(limit)]?.used ?? 0) > limit.max)
    if (!over || !reservation.granted) return { ...reservation, states }
    await this.#limits.settle(tenant, id, NO_AMOUNTS)
    return { granted: false, refusedBy: over.limit, states }
  }

  /** Decides without the store. @param error why it could not be asked just now */
  async #reserveHere(
    request: ReserveRequest,
    likely: Amounts,
    policy: 'local' | 'refuse' | 'open',
    error?: unknown,
  ): Promise<{ headers: Headers; settle: Settle }> {
    const { tenant, limits, amounts } = request
    const at = Date.now()
    const mayBeDone = error instanceof StoreError && error.mayBeDone
    if (policy === 'refuse') {
      if (mayBeDone) this.#owe(nothingOf(request, at), null, error)
      throw unavailable()
    }
    // A store that is full still tells.
    if (error && !mayBeDone && !this.#counts.knows(tenant, limits)) await this.#look(tenant, limits)
    const { reservation, held } =
      policy === 'open'
        ? { reservation: null, held: this.#counts.hold(tenant, limits, amounts, true) }
        : this.#counts.reserve(tenant, limits, amounts, this.#limits.replicas)
    if (!held || reservation?.granted === false) {
      if (mayBeDone) this.#owe(nothingOf(request, at), null, error)
      throw this.#refused(request, reservation as Reservation, COUNTED_HERE)
    }
    this.#known.granted(tenant, limits)
    this.#owedBy(tenant, error).began(request, held)
    return {
      headers: {
        ...(reservation && rateLimitHeaders(limits, reservation, difference(amounts, likely))),
        ...COUNTED_HERE,
      },
      settle: (used) => void this.#settle(request, held, used, at),
    }
  }

  #refused({ tenant, limits, amounts }: ReserveRequest, reservation: Reservation, headers: Headers = {}): GatewayError {
    const error = refusal(limits, reservation, amounts, { ...rateLimitHeaders(limits, reservation), ...headers })
    this.#known.note(tenant, limits, reservation, error)
    return error
  }

  async #look(tenant: string, limits: readonly Limit[]): Promise<void> {
    try {
      this.#counts.told(tenant, limits, await this.#limits.look(tenant, limits), null)
    } catch {
      // Then nothing is known of them.
    }
  }

  /** A request has ended. */
  async #settle(request: ReserveRequest, held: Held, used: Amounts, at: number): Promise<void> {
    const { tenant, id, limits, amounts } = request
    this.#counts.end(held, used)
    this.#known.givenBack(tenant, limits, used)
    const charge: Charge = { tenant, id, at, limits, amounts: used }
    if (held.isOwn) {
      this.#owe(charge, held)
      return
    }
    try {
      const settled = await this.#limits.settle(tenant, id, used)
      if (settled === 'unknown') {
        // What was reserved was lost with it, unless its counters have been brought back since.
        const isRestored = this.#counts.wasRestored(held)
        await this.#limits.charge({ ...charge, amounts: isRestored ? difference(used, amounts) : used })
        if (!isRestored) this.#counts.charged(held, used)
      }
      this.#counts.settled(held, used)
    } catch (error) {
      this.#events.onStoreError('settle')
      this.#owe(charge, held, error)
    }
  }

  #owe(charge: Charge, held: Held | null, error?: unknown): void {
    this.#events.keep?.(charge)
    this.#owedBy(charge.tenant, error).charge(charge, held)
  }

  #owedBy(tenant: string, error?: unknown): Owed {
    let owed = this.#owed.get(tenant)
    if (!owed) {
      owed = new Owed(this.#limits, this.#counts, () => {
        this.#owed.delete(tenant)
        this.#events.onBack?.(tenant)
      })
      this.#owed.set(tenant, owed)
      this.#events.onLocal?.(tenant, error instanceof Error ? error.message : 'the store was away')
    }
    return owed
  }
}

/** Tells that the limits in these headers are this process's own count. */
const COUNTED_HERE = { 'x-router-limits': 'local' }

const difference = (a: Amounts, b: Amounts): Amounts => ({
  requests: a.requests - b.requests,
  tokens: a.tokens - b.tokens,
  nanoUsd: a.nanoUsd - b.nanoUsd,
})

const unavailable = () =>
  new GatewayError('Limits can not be checked right now.', {
    status: 503,
    type: 'api_error',
    code: 'limits_unavailable',
    retryAfterS: 1,
  })
