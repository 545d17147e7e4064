import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import type { Candidate } from '../../../src/candidates/candidate.ts'
import { costUsd } from '../../../src/candidates/pricing.ts'
import type { Tenant } from '../../../src/candidates/tenants.ts'
import { type Config, configSchema } from '../../../src/config/schema.ts'
import type { Call } from '../../../src/pipeline/call.ts'
import type { RequestContext } from '../../../src/pipeline/context.ts'
import { limitsOf, otherLimitsOf } from '../../../src/pipeline/quota/bounds.ts'
import { affordable, likelyOf, mostOf, mostTokens, toReserve } from '../../../src/pipeline/quota/estimate.ts'
import { Quota } from '../../../src/pipeline/quota/quota.ts'
import { usedBy, withCosts } from '../../../src/pipeline/quota/used.ts'
import { type Limits, NO_AMOUNTS } from '../../../src/store/limits.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import { type Attempt, KNOWN_USAGE } from '../../../src/store/records/records.ts'
import type { Store } from '../../../src/store/store.ts'
import { openTestStore } from '../../learning/support.ts'
import { candidate } from '../../routing/support.ts'
import { anInteraction } from '../../store/records.ts'

const CHEAP = candidate('cheap', { price: { input: 1, output: 10 } })
const DEAR = candidate('dear', { price: { input: 100, output: 1_000 } })
/** Of a prompt: what is likely, and at most, a token a byte. */
const PROMPT = 1.5 * 100 + 64
const MOST = 4 * 100 + 64
const UNKNOWN = { nanoUsd: null, tokens: null }

const tenantOf = (of: object): Tenant => {
  const config = (configSchema.parse({ tenants: [{ name: 'acme', ...of }] }) as Config).tenants[0]!
  return { name: 'acme', config, candidates: [CHEAP, DEAR], aliases: [] }
}

const callOf = (body: object, tenant = tenantOf({}), candidates: readonly Candidate[] = [CHEAP, DEAR]): Call =>
  ({
    request: { body: { messages: [], ...body }, promptTokens: 100 },
    model: { explicit: false, candidates },
    principal: { tenant, keyId: 'k1', user: 'ann', vouched: false, allowed: candidates },
  }) as unknown as Call

describe('what a request takes at most', () => {
  it('is its prompt, with a margin, and every answer that it asks for', () => {
    expect(mostOf(callOf({ max_tokens: 50 }), CHEAP)).toEqual({
      requests: 1,
      tokens: PROMPT + 50,
      nanoUsd: (MOST * 1 + 50 * 10) * 1e3,
    })
    expect(mostOf(callOf({ max_tokens: 50, n: 8 }), CHEAP)).toMatchObject({
      tokens: PROMPT + 8 * 50,
      nanoUsd: (MOST + 8 * 50 * 10) * 1e3,
    })
    expect(mostOf(callOf({ max_tokens: 50, n: 0 }), CHEAP).tokens).toBe(PROMPT + 50)
  })

  it('reads what its own format holds beside what a chat has words for, of tokens a minute as well', () => {
    const call = callOf({ max_tokens: 50 })
    const given = { ...call, request: { ...call.request, format: 'responses' }, raw: Buffer.alloc(40_000) } as Call
    expect(mostOf(given, CHEAP)).toMatchObject({ tokens: 10_000 + 50, nanoUsd: (40_000 + 64 + 500) * 1e3 })
  })

  it('is the larger of two spellings, and as long as the candidate can write where neither bounds it', () => {
    for (const [small, large] of [
      ['max_tokens', 'max_completion_tokens'],
      ['max_completion_tokens', 'max_tokens'],
    ] as const) {
      expect(mostOf(callOf({ [small]: 10, [large]: 12_000 }), CHEAP).nanoUsd).toBe((MOST + 12_000 * 10) * 1e3)
    }
    const brief = { ...CHEAP, maxOutputTokens: 100 }
    for (const bound of [{}, { max_tokens: 5_000 }]) {
      expect(mostOf(callOf(bound), brief).nanoUsd).toBe((MOST + 100 * 10) * 1e3)
    }
    expect(mostOf(callOf({}), CHEAP).nanoUsd).toBe((MOST + (100_000 - 100) * 10) * 1e3)
  })

  it('is at the price of what is written into a cache, where that is higher', () => {
    const cached = { ...CHEAP, price: { input: 1, output: 10, cacheWrite: 2 } }
    expect(mostOf(callOf({ max_tokens: 1 }), cached).nanoUsd).toBe((MOST * 2 + 10) * 1e3)
  })

  it('is twice the price of reading where a cache is asked to keep it for an hour', () => {
    const cached = { ...CHEAP, price: { input: 1, output: 10, cacheWrite: 1.25 } }
    const mark = { cache_control: { type: 'ephemeral', ttl: '1h' } }
    const part = { type: 'text', text: 'a', ...mark }
    for (const body of [mark, { messages: [{ role: 'user', content: [part] }] }, { tools: [{ type: 'x', ...mark }] }]) {
      const { nanoUsd } = mostOf(callOf({ max_tokens: 1, ...body }), cached)
      expect(nanoUsd / (MOST * 2 * 1e3)).toBeGreaterThanOrEqual(1)
    }
    expect(mostOf(callOf({ max_tokens: 1, messages: [{ ...mark, content: 'a', role: 'user' }] }), CHEAP).nanoUsd).toBe(
      mostOf(callOf({ max_tokens: 1, messages: [{ ...mark, content: 'a', role: 'user' }] }), {
        ...CHEAP,
        price: { input: 1, output: 10, cacheWrite: 1 },
      }).nanoUsd /
        2 +
        5e3,
    )
  })

  it('is at the price of a long prompt, where it may be one', () => {
    const price = { input: 1, output: 10, above: [{ tokens: MOST - 1, input: 2, output: 15 }] }
    expect(mostOf(callOf({ max_tokens: 50 }), { ...CHEAP, price }).nanoUsd).toBe((MOST * 2 + 50 * 15) * 1e3)
    const longer = { ...price, above: [{ ...price.above[0]!, tokens: MOST }] }
    expect(mostOf(callOf({ max_tokens: 50 }), { ...CHEAP, price: longer }).nanoUsd).toBe((MOST * 1 + 50 * 10) * 1e3)
  })

  it('is no longer than a context window, and no shorter than is likely', () => {
    const small = { ...CHEAP, contextWindow: 300 }
    expect(mostOf(callOf({ max_tokens: 50 }), small).nanoUsd).toBe((300 * 1 + 50 * 10) * 1e3)
    expect(mostOf(callOf({ max_tokens: 50 }), { ...small, contextWindow: 150 }).nanoUsd).toBe((214 + 50 * 10) * 1e3)
  })

  it('has room for thoughts that the bound of an answer does not count', () => {
    const thinks = (of: object) => mostOf(callOf({ max_tokens: 50, ...of }), CHEAP).nanoUsd
    // The words themselves may be a part of a prompt as well.
    expect(thinks({ thinking_budget: 1_000 }) - (MOST + 15 + 1_050 * 10) * 1e3).toBeLessThanOrEqual(0)
    expect(thinks({ thinking_budget: 1_000 })).toBeGreaterThanOrEqual((MOST + 1_050 * 10) * 1e3)
    expect(thinks({ enable_thinking: true })).toBeGreaterThanOrEqual((MOST + (50 + 99_900) * 10) * 1e3)
    expect(thinks({ enable_thinking: false })).toBe((MOST + 50 * 10) * 1e3)
    const minded = { ...CHEAP, defaults: { thinking_budget: 1_000 } }
    expect(mostOf(callOf({ max_tokens: 50 }), minded).nanoUsd).toBe((MOST + 1_050 * 10) * 1e3)
  })

  it('has room for what providers say of tools, and of the form of an answer', () => {
    for (const field of ['tools', 'functions']) {
      const { nanoUsd } = mostOf(callOf({ max_tokens: 50, [field]: [] }), CHEAP)
      expect(nanoUsd).toBe((400 + 1_024 + 50 * 10) * 1e3)
    }
  })

  it('of tokens a minute is what is likely, and more where there is room', () => {
    const call = callOf({ max_tokens: 50 })
    const [likely, most] = [PROMPT + 50, MOST + 50]
    const reserved = (tokens: number | null) => toReserve(call, [CHEAP], { ...UNKNOWN, tokens }, false).amounts.tokens
    expect([null, 0, likely, likely + 800, likely + 80_000].map(reserved)).toEqual([
      ...[likely, likely, likely],
      likely + 100,
      most,
    ])
    expect(toReserve(call, [CHEAP], { ...UNKNOWN, tokens: 1e6 }, false).likely.tokens).toBe(likely)
  })

  it('is told as what it is likely to be', () => {
    const { amounts, likely } = toReserve(callOf({}), [CHEAP], UNKNOWN, false)
    expect(amounts.nanoUsd).toBe((MOST + (100_000 - 100) * 10) * 1e3)
    expect(likely.nanoUsd).toBe((PROMPT + 4_096 * 10) * 1e3)
  })

  it('of several candidates is that of the dearest; those fit that cost no more than is left', () => {
    const call = callOf({ max_tokens: 50 })
    expect(toReserve(call, [DEAR, CHEAP], UNKNOWN, false).amounts).toEqual(mostOf(call, DEAR))
    expect(toReserve(call, [CHEAP, DEAR], UNKNOWN, false).amounts).toEqual(mostOf(call, DEAR))
    expect(affordable(call, [CHEAP, DEAR], mostOf(call, CHEAP).nanoUsd)).toEqual([CHEAP])
    expect(affordable(call, [CHEAP, DEAR], mostOf(call, CHEAP).nanoUsd - 1)).toEqual([])
  })

  it('is bounded by what the prompt leaves of a budget, where nothing else bounds it', () => {
    const paid = (MOST + 70 * 10) * 1e3
    expect(mostTokens(callOf({}), CHEAP, paid)).toBe(70)
    expect(mostTokens(callOf({ max_tokens: 1_000 }), CHEAP, paid)).toBeNull()
    expect(mostTokens(callOf({}), CHEAP, Number.MAX_VALUE)).toBeNull()
  })
})

describe('what a request came to', () => {
  const ended = (of: Partial<InteractionRecord>) =>
    anInteraction({ chosen: 'cheap', costUsd: 0.002, usageEstimated: false, finishReason: 'stop', attempts: [], ...of })
  const tried = (name: string, error: string | null) => ({ candidate: name, provider: 'p', status: null, error, ms: 1 })
  const call = callOf({ max_tokens: 50 })
  const came = (record: InteractionRecord, reserved = Number.MAX_SAFE_INTEGER) =>
    usedBy(withCosts(record, call, reserved), call).nanoUsd

  it('is what the provider counted', () => {
    const usage = { ...ended({}).usage, promptTokens: 7, completionTokens: 3 }
    expect(usedBy(ended({ usage }), call)).toEqual({ requests: 1, tokens: 10, nanoUsd: 2e6 })
  })

  it('is what may have been written where nobody was told how the answer ended', () => {
    const open = ended({ usageEstimated: true, finishReason: 'aborted', attempts: [tried('dear', null)] })
    expect(came(open)).toBe(mostOf(call, DEAR).nanoUsd)
    expect(came({ ...open, finishReason: 'error' })).toBe(mostOf(call, DEAR).nanoUsd)
    expect(came({ ...open, finishReason: 'stop' })).toBe(2e6)
  })

  it('is what is likely where no budget has to hold: a prompt is rarely a token a byte', () => {
    const open = ended({ usageEstimated: true, finishReason: 'aborted', attempts: [tried('dear', null)] })
    expect(came(open, Number.POSITIVE_INFINITY)).toBe(likelyOf(call, DEAR).nanoUsd)
    expect(likelyOf(call, DEAR).nanoUsd).toBe((PROMPT * 100 + 50 * 1_000) * 1e3)
  })

  it.each(['hedged', 'timeout'])('is also what a try that was %s may have cost', (error) => {
    const attempts = [tried('dear', error), tried('cheap', null)]
    expect(came(ended({ attempts }))).toBe(2e6 + mostOf(call, DEAR).nanoUsd)
    expect(came(ended({ attempts: [tried('dear', 'refused'), tried('cheap', null)] }))).toBe(2e6)
  })
})

describe('a try that said nothing', () => {
  const usage = { promptTokens: 100, completionTokens: 2, cachedTokens: 0, cacheWriteTokens: 0, reasoningTokens: 0 }
  const call = callOf({ max_tokens: 50 })
  const tried = (candidate: string, error: string | null) => ({ candidate, provider: 'p', status: 200, error, ms: 1 })
  const came = (nothing: Attempt) => {
    const attempts = [nothing, tried('cheap', null)]
    const told = { usage: { ...usage, promptTokens: 7 }, costUsd: 0.002, usageEstimated: false }
    const record = anInteraction({ chosen: 'cheap', finishReason: 'stop', attempts, ...told })
    const billed = withCosts(record, call, Number.POSITIVE_INFINITY)
    expect(JSON.stringify(billed)).not.toContain('"promptTokens":100')
    return usedBy(billed, call)
  }

  it('costs what its provider has counted, and at most a usual answer where it has not', () => {
    const known = { ...tried('dear', 'empty'), [KNOWN_USAGE]: usage }
    expect(came(known)).toEqual({ requests: 1, tokens: 9 + 102, nanoUsd: 2e6 + costUsd(usage, DEAR.price) * 1e9 })
    const { tokens, nanoUsd } = likelyOf(call, DEAR)
    expect(came(tried('dear', 'empty'))).toEqual({ requests: 1, tokens: 9 + tokens, nanoUsd: 2e6 + nanoUsd })
  })
})

test('limits hold for tenant, key and user, each under its own name and for what it bounds', () => {
  const limits = { requests_per_minute: 1, tokens_per_minute: 2, concurrent: 3, usd_per_day: 4, usd_per_month: 5 }
  const tenant = tenantOf({ limits, key_limits: { requests_per_minute: 6 }, user_limits: { usd_per_day: 7 } })
  const named = limitsOf(tenant, 'k1', 'ann').map(({ scope, what, window, max }) => `${scope} ${what} ${window} ${max}`)
  expect(named).toEqual([
    'tenant requests minute 1',
    'tenant tokens minute 2',
    'tenant requests flight 3',
    `tenant nanoUsd day ${4e9}`,
    `tenant nanoUsd month ${5e9}`,
    'key:k1 requests minute 6',
    `user:ann nanoUsd day ${7e9}`,
  ])
  expect(
    limitsOf(tenant, 'k2', 'bob')
      .map(({ scope }) => scope)
      .slice(5),
  ).toEqual(['key:k2', 'user:bob'])
  const others = otherLimitsOf({ tenant, keyId: 'k1', user: 'ann' })
  expect(others.map(({ scope, max }) => `${scope} ${max}`)).toEqual(['tenant#other 1', 'key#other:k1 6'])
})

describe('a quota', () => {
  let store: Store
  let quota: Quota
  let ids = 0
  beforeEach(() => {
    store = openTestStore()
    quota = new Quota(store.limits, { onStoreError: () => undefined })
  })
  afterEach(async () => {
    await quota.close()
    await store.close()
  })
  const context = () =>
    ({ requestId: `r${ids++}`, snapshot: { config: configSchema.parse({}) } }) as unknown as RequestContext
  const settled = async (tenant: Tenant, what: string) =>
    (await store.limits.look('acme', limitsOf(tenant, 'k1', 'ann'))).map(({ used }) => used)[
      limitsOf(tenant, 'k1', 'ann').findIndex((limit) => limit.what === what)
    ]
  const until = async (ask: () => Promise<boolean>) => {
    for (let i = 0; i < 500 && !(await ask()); i++) await new Promise((done) => setTimeout(done, 5))
  }

  it('settles at what an answer came to, and gives back what was reserved beyond', async () => {
    const tenant = tenantOf({ limits: { usd_per_day: 1, tokens_per_minute: 100_000 } })
    const call = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    const grant = await quota.reserve(context(), call)
    expect(await settled(tenant, 'nanoUsd')).toBe(mostOf(call, CHEAP).nanoUsd)
    grant.settle(anInteraction({ costUsd: 0.25, usageEstimated: false, attempts: [] }))
    await until(async () => (await settled(tenant, 'nanoUsd')) === 0.25e9)
    expect(await settled(tenant, 'nanoUsd')).toBe(0.25e9)
  })

  it('tells what is left as if a prompt were what is likely, while more of it is reserved', async () => {
    const tenant = tenantOf({ limits: { usd_per_day: 1, tokens_per_minute: 100_000 } })
    const call = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    const first = await quota.reserve(context(), call)
    expect(first.headers).toMatchObject({
      'x-ratelimit-remaining-tokens': String(100_000 - PROMPT - 50),
      'x-router-budget-remaining-usd': ((1e9 - (PROMPT + 500) * 1e3) / 1e9).toFixed(6),
    })
    first.settle(null)
    const second = await quota.reserve(context(), call)
    expect(await settled(tenant, 'tokens')).toBe(MOST + 50)
    expect(second.headers['x-ratelimit-remaining-tokens']).toBe(String(100_000 - PROMPT - 50))
  })

  it('lets in whom a minute has room for as is likely, whatever others hold beyond', async () => {
    const likely = PROMPT + 50
    const tenant = tenantOf({ limits: { tokens_per_minute: 2 * likely + 100 } })
    const call = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    // Another replica has let in as much, of which nothing is known here yet.
    ;(await quota.reserve(context(), call)).settle(null)
    await until(async () => (await settled(tenant, 'tokens')) === 0)
    const limits = limitsOf(tenant, 'k1', 'ann')
    const amounts = { ...NO_AMOUNTS, tokens: likely + 90 }
    await store.limits.reserve({ tenant: 'acme', id: 'other', limits, amounts, ttlMs: 60_000 })
    await quota.reserve(context(), call)
    expect(await settled(tenant, 'tokens')).toBe(2 * likely + 90)
    await expect(quota.reserve(context(), call)).rejects.toMatchObject({ status: 429 })
  })

  it('gives all back where there was no answer', async () => {
    const tenant = tenantOf({ limits: { usd_per_day: 1, concurrent: 1 } })
    const call = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    const grant = await quota.reserve(context(), call)
    await expect(quota.reserve(context(), call)).rejects.toMatchObject({ status: 429 })
    grant.settle(null)
    await until(async () => (await settled(tenant, 'nanoUsd')) === 0)
    expect(await settled(tenant, 'nanoUsd')).toBe(0)
    ;(await quota.reserve(context(), call)).settle(null)
  })

  it('tells the store what an answer came to though it has lost the reservation', async () => {
    const tenant = tenantOf({ limits: { usd_per_day: 1 } })
    const forgetful: Limits = {
      replicas: 1,
      reserve: (request) => store.limits.reserve(request),
      look: (...of) => store.limits.look(...of),
      restore: (...of) => store.limits.restore(...of),
      settle: (of) => store.limits.settle(of, 'never reserved', NO_AMOUNTS),
      charge: (charge) => store.limits.charge({ ...charge, id: `again-${charge.id}` }),
    }
    const other = new Quota(forgetful, { onStoreError: () => undefined })
    const call = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    const grant = await other.reserve(context(), call)
    grant.settle(anInteraction({ costUsd: 0.25, usageEstimated: false, attempts: [] }))
    const whole = mostOf(call, CHEAP).nanoUsd + 0.25e9
    await until(async () => (await settled(tenant, 'nanoUsd')) === whole)
    expect(await settled(tenant, 'nanoUsd')).toBe(whole)
    await other.close()
  })

  it('refuses what does not fit, and takes nothing for it; the next one that fits is granted', async () => {
    const tenant = tenantOf({ limits: { usd_per_day: 0.002 } })
    const call = callOf({ max_tokens: 50 }, tenant, [DEAR])
    await expect(quota.reserve(context(), call)).rejects.toMatchObject({ status: 429, code: 'insufficient_quota' })
    const small = callOf({ max_tokens: 50 }, tenant, [CHEAP])
    ;(await quota.reserve(context(), small)).settle(null)
  })
})
