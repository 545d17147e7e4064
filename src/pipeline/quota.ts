import type { Candidate } from '../candidates/candidate.ts'
import type { Tenant } from '../candidates/tenants.ts'
import type { LimitsConfig, TenantConfig } from '../config/schema.ts'
import { GatewayError, type GatewayErrorOptions } from '../errors.ts'
import type { ChatBody } from '../openai/chat.ts'
import { isObject } from '../openai/is-object.ts'
import type { Amounts, Limit, Limits, Reservation } from '../store/limits.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import type { Call } from './call.ts'
import type { RequestContext } from './context.ts'
import { KnownRefusals } from './known-refusals.ts'
import type { Principal } from './principal.ts'

/** A reservation of one request: made before it is forwarded, settled when it has ended. */
export interface Grant {
  /** OpenAI's `x-ratelimit-*`. */
  headers: Headers
  /** @param record of the answer; null where there was none */
  settle(record: InteractionRecord | null): void
}

interface Settlement {
  tenant: string
  id: string
  amounts: Amounts
}

type Headers = Record<string, string>

/** Under whose limits a request falls; null: no key was needed, or no user is named. */
export interface Limited {
  tenant: Tenant
  keyId: string | null
  /** As stored. */
  user: string | null
}

const UNLIMITED = { headers: {}, settle: () => {} }
const ONE_REQUEST: Amounts = { requests: 1, tokens: 0, nanoUsd: 0 }

/** Reserved for an answer whose length the request does not bound. */
const UNBOUNDED_ANSWER_TOKENS = 4_096
/** A bound above this, `1e400` too, is read as this, so that counters stay finite. */
const MOST_ANSWER_TOKENS = 2 ** 40
/** The estimate of a prompt may be too low: other scripts, other vocabularies, and text that providers add. */
const PROMPT_MARGIN = { factor: 1.5, tokens: 64 }
const NANO = 1e9
/** Longer than any request takes. */
const TTL_MARGIN_MS = 60_000
const RETRY_MS = 1_000
const MAX_PENDING = 10_000

/**
 * Tokens, dollars and requests under the limits of tenant, key and user. Reserves before the answer, and settles off
 * the request path: a settlement that the store can't take now is tried again until it can, and counts once however
 * often it is sent.
 */
export class Quota {
  readonly #limits: Limits
  readonly #onStoreError: (call: 'reserve' | 'settle') => void
  #pending: Settlement[] = []
  #timer: NodeJS.Timeout | undefined
  readonly #known = new KnownRefusals()

  constructor(limits: Limits, onStoreError: (call: 'reserve' | 'settle') => void) {
    this.#limits = limits
    this.#onStoreError = onStoreError
  }

  /**
   * Reserves an upper estimate, for the dearest of `candidates`, under all limits or under none. When the store is away
   * nothing is limited: its counts are worth less than the answers.
   *
   * @throws GatewayError 429 with `retry-after`
   */
  async reserve(
    context: RequestContext,
    call: Call,
    candidates: readonly Candidate[] = call.model.candidates,
  ): Promise<Grant> {
    const { headers, settle } = await this.#reserve(context, call.principal, upperEstimate(call, candidates))
    return { headers, settle: (record) => settle(record ? usedBy(record, call) : NOTHING) }
  }

  /**
   * Reserves a request of which tokens and dollars are known later, or never; it counts as one request, however it
   * ends.
   *
   * @param least what it takes of the limits until it is settled
   * @throws GatewayError 429 with `retry-after`
   */
  async reserveRequest(
    context: RequestContext,
    principal: Principal,
    least: Amounts = ONE_REQUEST,
  ): Promise<{ headers: Headers; settle(used?: Amounts): void }> {
    const { headers, settle } = await this.#reserve(context, principal, least)
    return { headers, settle: (used = ONE_REQUEST) => settle(used) }
  }

  /** Whether `refuseKnown` would refuse anybody. */
  get knowsRefusals(): boolean {
    return this.#known.size > 0
  }

  /** Refuses a request under a limit that is known to be used up. @throws GatewayError 429 with `retry-after` */
  refuseKnown(request: object, { tenant, keyId, user }: Limited): void {
    const scopes = ['tenant', ...(keyId === null ? [] : [`key:${keyId}`]), ...(user === null ? [] : [`user:${user}`])]
    this.#known.refuse(request, tenant.name, scopes)
  }

  /**
   * Counts a request that is no answer (feedback, a profile, a list), in buckets of their own.
   *
   * @throws GatewayError 429 with `retry-after`
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

  #reserve(context: RequestContext, { tenant, keyId, user }: Principal, amounts: Amounts) {
    return this.#reserveUnder(context, tenant.name, limitsOf(tenant, keyId, user), amounts)
  }

  async #reserveUnder(
    { requestId, snapshot }: Pick<RequestContext, 'requestId' | 'snapshot'>,
    tenant: string,
    limits: Limit[],
    amounts: Amounts,
  ): Promise<{ headers: Headers; settle(amounts: Amounts): void }> {
    if (limits.length === 0) return UNLIMITED
    let reservation: Reservation
    try {
      reservation = await this.#limits.reserve({
        tenant,
        id: requestId,
        limits,
        amounts,
        ttlMs: snapshot.config.timeouts.total_ms + TTL_MARGIN_MS,
      })
    } catch {
      this.#onStoreError('reserve')
      return UNLIMITED
    }
    const headers = rateLimitHeaders(limits, reservation)
    if (!reservation.granted) {
      const refused = refusal(limits, reservation, amounts, headers)
      this.#known.note(tenant, limits, reservation, refused)
      throw refused
    }
    this.#known.granted(tenant, limits)
    return {
      headers,
      settle: (used) => {
        this.#known.givenBack(tenant, limits, used)
        void this.#settle({ tenant, id: requestId, amounts: used })
      },
    }
  }

  /** Tries once more to settle what is left. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await Promise.all(this.#takePending().map((settlement) => this.#send(settlement))).catch(() => {})
  }

  async #settle(settlement: Settlement): Promise<void> {
    try {
      await this.#send(settlement)
    } catch {
      this.#onStoreError('settle')
      // Beyond the bound a reservation expires by itself, and its upper estimate is given back.
      if (this.#pending.length < MAX_PENDING) this.#pending.push(settlement)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined
        for (const waiting of this.#takePending()) void this.#settle(waiting)
      }, RETRY_MS).unref()
    }
  }

  #send({ tenant, id, amounts }: Settlement): Promise<boolean> {
    return this.#limits.settle(tenant, id, amounts)
  }

  #takePending(): Settlement[] {
    const pending = this.#pending
    this.#pending = []
    return pending
  }
}

/** All limits that hold for a request of this key and user. */
function limitsOf({ config }: Tenant, keyId: string, user: string): Limit[] {
  return [...sharedLimits(config, keyId), ...boundsOf(`user:${user}`, config.user_limits)]
}

/** Limits of a configured tenant and its keys: the same for all requests. */
const shared = new WeakMap<TenantConfig, Map<string, Limit[]>>()

function sharedLimits(config: TenantConfig, keyId: string): Limit[] {
  let ofKeys = shared.get(config)
  if (!ofKeys) {
    ofKeys = new Map()
    shared.set(config, ofKeys)
  }
  let limits = ofKeys.get(keyId)
  if (!limits) {
    limits = [...boundsOf('tenant', config.limits), ...boundsOf(`key:${keyId}`, config.key_limits)]
    ofKeys.set(keyId, limits)
  }
  return limits
}

/** In buckets of their own, as large as those of answers unless the configuration says otherwise. */
function otherLimitsOf({ tenant: { config }, keyId, user }: Limited): Limit[] {
  return [
    ...otherBoundsOf('tenant#other', config.limits),
    ...(keyId === null ? [] : otherBoundsOf(`key#other:${keyId}`, config.key_limits)),
    ...(user === null ? [] : otherBoundsOf(`user#other:${user}`, config.user_limits)),
  ]
}

function otherBoundsOf(scope: string, config: LimitsConfig): Limit[] {
  const max = config.other_requests_per_minute ?? config.requests_per_minute
  return max === undefined ? [] : [{ scope, what: 'requests', window: 'minute', max }]
}

function boundsOf(scope: string, config: LimitsConfig): Limit[] {
  const bounds: Limit[] = []
  const bound = (what: Limit['what'], window: Limit['window'], max: number | undefined) => {
    if (max !== undefined) bounds.push({ scope, what, window, max })
  }
  bound('requests', 'minute', config.requests_per_minute)
  bound('tokens', 'minute', config.tokens_per_minute)
  bound('requests', 'flight', config.concurrent)
  bound('nanoUsd', 'day', config.usd_per_day && Math.round(config.usd_per_day * NANO))
  bound('nanoUsd', 'month', config.usd_per_month && Math.round(config.usd_per_month * NANO))
  return bounds
}

/** The most that one answer could take of any of `candidates`. */
function upperEstimate(call: Call, candidates: readonly Candidate[]): Amounts {
  let [tokens, nanoUsd] = [0, 0]
  for (const candidate of candidates) {
    const most = mostOf(call, candidate)
    tokens = Math.max(tokens, most.tokens)
    nanoUsd = Math.max(nanoUsd, most.nanoUsd)
  }
  return { requests: 1, tokens, nanoUsd }
}

/** Those whose answer costs no more than what is left of a budget. */
export const affordable = (call: Call, candidates: readonly Candidate[], nanoUsdLeft: number): Candidate[] =>
  candidates.filter((candidate) => mostOf(call, candidate).nanoUsd <= nanoUsdLeft)

/** Of two spellings servers differ in which one they read: the larger one counts. */
function mostOf({ request }: Call, { price, maxOutputTokens, contextWindow }: Candidate): Amounts {
  const { body } = request
  const estimated = Math.ceil(request.promptTokens * PROMPT_MARGIN.factor) + PROMPT_MARGIN.tokens
  const attached = attachedTokens(request.body)
  const prompt = attached === 0 ? estimated : Math.max(estimated, Math.min(contextWindow, estimated + attached))
  const answers = Math.max(1, Math.min(body.n ?? 1, 128))
  const bounds = [body.max_completion_tokens, body.max_tokens].filter((bound) => typeof bound === 'number')
  const asked = bounds.length > 0 ? Math.max(...bounds) : UNBOUNDED_ANSWER_TOKENS
  const longest = Math.min(asked, MOST_ANSWER_TOKENS)
  const completion = Math.min(longest, maxOutputTokens ?? longest) * answers
  const usd = (prompt * Math.max(price.input, price.cacheWrite ?? 0) + completion * price.output) / 1e6
  return { requests: 1, tokens: prompt + longest * answers, nanoUsd: Math.ceil(usd * NANO) }
}

/** A file that the provider already has: nobody here knows how long it is. */
const TOKENS_OF_NAMED_FILE = 100_000
/** Base64 of a file of text holds about a token in four characters; of sound at 32 kbit/s, one in 400. */
const CHARS_PER_TOKEN = { file: 4, input_audio: 400 }
const ATTACHED = ['file', 'input_audio'] as const

/** Tokens of files and sound in messages, at most. */
function attachedTokens({ messages }: ChatBody): number {
  let tokens = 0
  for (const { content } of messages) {
    if (!Array.isArray(content)) continue
    for (const part of content) {
      const type = ATTACHED.find((known) => known === part.type)
      if (!type) continue
      const data = Object.values((part[type] ?? {}) as object).reduce(
        (most, value) => Math.max(most, typeof value === 'string' ? value.length : 0),
        0,
      )
      const isNamed = isObject(part.file) && typeof part.file.file_id === 'string'
      tokens += isNamed ? TOKENS_OF_NAMED_FILE : Math.ceil(data / CHARS_PER_TOKEN[type])
    }
  }
  return tokens
}

const NOTHING: Amounts = { requests: 0, tokens: 0, nanoUsd: 0 }

/** What a request came to: the answer, and tries beside it that a provider may have answered and billed. */
function usedBy(record: InteractionRecord, call: Call): Amounts {
  const { promptTokens, completionTokens } = record.usage
  const candidateOf = (wanted: string) => call.model.candidates.find(({ name }) => name === wanted)
  const used: Amounts = {
    requests: 1,
    tokens: promptTokens + completionTokens,
    nanoUsd: Math.round(record.costUsd * NANO),
  }
  const atMost = (name: string, atLeast: Amounts): Amounts => {
    const candidate = candidateOf(name)
    if (!candidate) return atLeast
    const { tokens, nanoUsd } = mostOf(call, candidate)
    return { ...atLeast, tokens: Math.max(tokens, atLeast.tokens), nanoUsd: Math.max(nanoUsd, atLeast.nanoUsd) }
  }
  const total = { ...(isOpenEnd(record) ? atMost(record.attempts.at(-1)?.candidate ?? record.chosen, used) : used) }
  for (const { candidate, error } of record.attempts.slice(0, -1)) {
    if (error !== 'hedged' && error !== 'timeout') continue
    const lost = atMost(candidate, NOTHING)
    total.tokens += lost.tokens
    total.nanoUsd += lost.nanoUsd
  }
  return total
}

/** The provider had the request, and nobody was told how long its answer became. */
const isOpenEnd = ({ usage, usageEstimated, finishReason }: InteractionRecord) =>
  usageEstimated && usage.promptTokens > 0 && (finishReason === 'aborted' || finishReason === 'error')

/** The limits of requests and of tokens a minute with the least left, in OpenAI's headers. */
function rateLimitHeaders(limits: readonly Limit[], { states }: Reservation): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const what of ['requests', 'tokens'] as const) {
    let nearest = -1
    for (const [i, limit] of limits.entries()) {
      if (limit.what !== what || limit.window !== 'minute' || !states[i]) continue
      if (nearest < 0 || states[i].remaining < states[nearest]!.remaining) nearest = i
    }
    if (nearest < 0) continue
    const { remaining, resetMs } = states[nearest]!
    headers[`x-ratelimit-limit-${what}`] = String(limits[nearest]!.max)
    headers[`x-ratelimit-remaining-${what}`] = String(Math.floor(remaining))
    headers[`x-ratelimit-reset-${what}`] = `${(resetMs / 1000).toFixed(3)}s`
  }
  const left = leastLeft(limits, states)
  if (left !== null) headers['x-router-budget-remaining-usd'] = usd(left)
  return headers
}

/** Billionths of a dollar left of the budget with the least left; null where there is none. */
function leastLeft(limits: readonly Limit[], states: Reservation['states']): number | null {
  const lefts = limits.flatMap(({ what }, i) => (what === 'nanoUsd' && states[i] ? [states[i].remaining] : []))
  return lefts.length > 0 ? Math.min(...lefts) : null
}

/** A budget that has not enough left. */
export class BudgetError extends GatewayError {
  /** Billionths of a dollar. */
  readonly left: number

  constructor(left: number, message: string, options: GatewayErrorOptions) {
    super(message, options)
    this.left = left
  }
}

function refusal(
  limits: readonly Limit[],
  { refusedBy, states }: Reservation,
  amounts: Amounts,
  headers: Record<string, string>,
): GatewayError {
  const index = limits.findIndex((limit) => limit === refusedBy || sameLimit(limit, refusedBy))
  const isBudget = refusedBy?.what === 'nanoUsd'
  const whose = refusedBy?.scope.split(/[#:]/)[0] ?? 'tenant'
  const per = refusedBy?.window === 'flight' ? 'at once' : `a ${refusedBy?.window}`
  const what = isBudget ? 'dollars' : refusedBy?.what
  const resetMs = states[index]?.resetMs ?? 1_000
  const needed = refusedBy ? amounts[refusedBy.what] : 0
  const max = refusedBy?.max ?? 0
  const neverFits = needed > max
  const left = states[index]?.remaining ?? 0
  const show = (amount: number) => (isBudget ? `$${usd(amount)}` : String(Math.floor(amount)))
  const reset = `the limit is reset at ${new Date(Date.now() + resetMs).toISOString()}`
  const figures = `needed at most ${show(needed)}, left ${show(left)} of ${show(max)}`
  const advice = neverFits
    ? 'This request can never fit: ask for a shorter answer (max_tokens) or a cheaper model.'
    : `${reset[0]?.toUpperCase()}${reset.slice(1)}.`
  const options: GatewayErrorOptions = {
    status: 429,
    type: isBudget ? 'insufficient_quota' : 'rate_limit_error',
    code: isBudget ? 'insufficient_quota' : 'rate_limit_exceeded',
    ...(!neverFits && { retryAfterS: Math.max(1, resetMs / 1000) }),
    // A budget does not come back while an SDK waits, and what never fits is not to be tried again.
    ...((isBudget || neverFits) && { shouldRetry: false }),
    headers,
  }
  const message = `Limit reached for this ${whose}: ${what} ${per} (${figures}). ${advice}`
  if (!isBudget) return new GatewayError(message, options)
  return new BudgetError(leastLeft(limits, states) ?? 0, message, options)
}

const usd = (nanoUsd: number) => (nanoUsd / NANO).toFixed(6)

const sameLimit = (a: Limit, b: Limit | null) =>
  b !== null && a.scope === b.scope && a.what === b.what && a.window === b.window
