import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  type Amounts,
  type ClaimRequest,
  type Limit,
  MAX_REPLAY_BYTES,
  MAX_REPLAYS,
  windowAt,
} from '../../src/store/limits.ts'
import type { Store } from '../../src/store/store.ts'
import { until } from '../support/redis.ts'

const amounts = (overrides: Partial<Amounts> = {}): Amounts => ({ requests: 1, tokens: 0, nanoUsd: 0, ...overrides })
const LONG_MS = 60_000
const KEEPING = { keepMs: 86_400_000, maxBytes: 1e9 }

/** Limits and idempotency of a store; part of the store contract. */
export function limitsContract(current: () => Store, open: () => Promise<Store>) {
  const tenant = () => `t-${randomUUID().slice(0, 8)}`
  const budget = (max: number, overrides: Partial<Limit> = {}): Limit => ({
    scope: 'tenant',
    what: 'nanoUsd',
    window: 'day',
    max,
    ...overrides,
  })

  test('a hundred at once against a budget for ten, from two replicas: ten are admitted', async () => {
    const store = current()
    const t = tenant()
    const other = await open()
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        (i % 2 ? store : other).limits.reserve({
          tenant: t,
          id: `r-${i}`,
          limits: [budget(1_000_000)],
          amounts: amounts({ nanoUsd: 100_000 }),
          ttlMs: LONG_MS,
        }),
      ),
    )
    expect(results.filter(({ granted }) => granted)).toHaveLength(10)
    expect(Math.min(...results.map(({ states }) => states[0]!.remaining))).toBe(0)
    await other.close()
  })

  test('half a character in a name is no matter, nor for those who ask at the same time', async () => {
    const store = current()
    const t = tenant()
    const ask = (id: string, scope: string) =>
      store.limits.reserve({
        tenant: t,
        id,
        limits: [budget(10, { scope })],
        amounts: amounts({ nanoUsd: 4 }),
        ttlMs: LONG_MS,
      })
    const asked = await Promise.all([
      ask('a', 'user:\ud800'),
      ask('b', 'user:"\\ud83d\ude00\0'),
      ask('c', 'user:\ud800'),
    ])
    expect(asked.map(({ granted, states }) => [granted, states[0]?.remaining])).toEqual([
      [true, 6],
      [true, 6],
      [true, 2],
    ])
    expect(await store.limits.settle(t, 'c', amounts())).toBe('now')
  })

  test('all limits or none: what one refuses, none has counted', async () => {
    const store = current()
    const t = tenant()
    const wide = budget(1_000, { what: 'tokens', window: 'month' })
    const narrow = budget(150, { what: 'tokens', window: 'day', scope: 'user:u' })
    const reserve = (id: string, limits: Limit[], tokens: number) =>
      store.limits.reserve({ tenant: t, id, limits, amounts: amounts({ tokens }), ttlMs: LONG_MS })
    expect(await reserve('1', [wide, narrow], 100)).toMatchObject({
      granted: true,
      refusedBy: null,
      states: [{ remaining: 900 }, { remaining: 50 }],
    })
    const refused = await reserve('2', [wide, narrow], 100)
    expect(refused).toMatchObject({
      granted: false,
      refusedBy: narrow,
      states: [{ remaining: 900 }, { remaining: 50 }],
    })
    expect(refused.states[1]!.resetMs).toBeGreaterThan(0)
    expect(refused.states[1]!.resetMs).toBeLessThanOrEqual(86_400_000)
    const { end } = windowAt('month', Date.now())
    expect(Math.abs(Date.now() + refused.states[0]!.resetMs - end)).toBeLessThan(10_000)
    expect(await reserve('3', [wide], 900)).toMatchObject({ granted: true, states: [{ remaining: 0 }] })
    expect(await reserve('4', [budget(10, { what: 'tokens', scope: 'user:other' })], 10)).toMatchObject({
      granted: true,
    })
  })

  test('settling counts what it came to, once, and frees what is in flight', async () => {
    const store = current()
    const t = tenant()
    const limits = [budget(1_000), budget(1, { what: 'requests', window: 'flight', scope: 'key:k' })]
    const reserve = (id: string, nanoUsd: number) =>
      store.limits.reserve({ tenant: t, id, limits, amounts: amounts({ nanoUsd }), ttlMs: LONG_MS })
    expect(await reserve('1', 600)).toMatchObject({ granted: true, states: [{ remaining: 400 }, { remaining: 0 }] })
    expect(await reserve('2', 100)).toMatchObject({ granted: false, refusedBy: limits[1] })
    expect(await store.limits.settle(t, '1', amounts({ nanoUsd: 250 }))).toBe('now')
    expect(await store.limits.settle(t, '1', amounts({ nanoUsd: 250 }))).toBe('before')
    expect(await store.limits.settle(t, 'unknown', amounts({ nanoUsd: 250 }))).toBe('unknown')
    expect(await reserve('2', 750)).toMatchObject({ granted: true, states: [{ remaining: 0 }, { remaining: 0 }] })
    // The answer was dearer than thought: it is counted all the same.
    expect(await store.limits.settle(t, '2', amounts({ nanoUsd: 5_000 }))).toBe('now')
    expect(await reserve('3', 1)).toMatchObject({ granted: false, refusedBy: limits[0] })
  })

  test('the same reservation asked for twice counts once', async () => {
    const store = current()
    const t = tenant()
    const request = { tenant: t, id: '1', limits: [budget(100)], amounts: amounts({ nanoUsd: 80 }), ttlMs: LONG_MS }
    expect(await store.limits.reserve(request)).toMatchObject({ granted: true, states: [{ remaining: 20 }] })
    expect(await store.limits.reserve(request)).toMatchObject({ granted: true, states: [{ remaining: 20 }] })
  })

  test('a reservation whose process died is given back; settled late, it counts', async () => {
    const store = current()
    const t = tenant()
    const limits = [budget(100), budget(1, { what: 'requests', window: 'flight' })]
    const reserve = (id: string, ttlMs: number) =>
      store.limits.reserve({ tenant: t, id, limits, amounts: amounts({ nanoUsd: 100 }), ttlMs })
    expect(await reserve('dies', 30)).toMatchObject({ granted: true })
    await until(async () => (await reserve('next', LONG_MS)).granted)
    expect(await store.limits.settle(t, 'next', amounts({ nanoUsd: 0 }))).toBe('now')
    expect(await store.limits.settle(t, 'dies', amounts({ nanoUsd: 70 }))).toBe('now')
    expect(await store.limits.settle(t, 'dies', amounts({ nanoUsd: 70 }))).toBe('before')
    const small = { tenant: t, limits, amounts: amounts({ nanoUsd: 30 }), ttlMs: LONG_MS }
    expect(await store.limits.reserve({ ...small, id: 'small' })).toMatchObject({
      states: [{ remaining: 0 }, { remaining: 0 }],
    })
  })

  test('what was granted elsewhere is charged once, in the windows of its time, or settles what was reserved', async () => {
    const store = current()
    const t = tenant()
    const month = budget(1_000, { window: 'month' })
    const limits = [budget(1_000), month, budget(3, { what: 'requests', window: 'flight' })]
    const look = async () => (await store.limits.look(t, limits)).map(({ used }) => used)
    expect(await store.limits.look(t, limits)).toMatchObject([
      { used: 0, remaining: 1_000, isNew: true },
      { used: 0, remaining: 1_000, isNew: true },
      { used: 0, remaining: 3, isNew: true },
    ])
    const charge = { tenant: t, id: 'away', at: Date.now(), limits, amounts: amounts({ nanoUsd: 70 }) }
    for (let i = 0; i < 2; i++) await store.limits.charge(charge)
    expect(await look()).toEqual([70, 70, 0])
    expect(await store.limits.settle(t, 'away', amounts({ nanoUsd: 500 }))).toBe('before')
    // A window that is over is of no matter: of a time years ago, all are.
    await store.limits.charge({ ...charge, id: 'long ago', at: Date.UTC(2020, 1, 29, 23, 59) })
    expect(await look()).toEqual([70, 70, 0])
    const reserved = { tenant: t, id: 'reply lost', limits, amounts: amounts({ nanoUsd: 400 }), ttlMs: LONG_MS }
    expect(await store.limits.reserve(reserved)).toMatchObject({
      granted: true,
      states: [{ used: 470, isNew: false }, {}, {}],
    })
    expect(await look()).toEqual([470, 470, 1])
    for (let i = 0; i < 2; i++) await store.limits.charge({ ...charge, id: 'reply lost' })
    expect(await look()).toEqual([140, 140, 0])
    // Less than nothing is not counted.
    await store.limits.charge({ ...charge, id: 'less', amounts: amounts({ requests: 0, nanoUsd: -1_000 }) })
    expect(await look()).toEqual([0, 0, 0])
  })

  test('a charge at the end of a day counts in that day alone, and in its month', async () => {
    const store = current()
    const t = tenant()
    const [day, month] = [budget(1_000), budget(1_000, { window: 'month' })]
    const at = windowAt('day', Date.now()).start - 1
    await store.limits.charge({ tenant: t, id: 'late', at, limits: [day, month], amounts: amounts({ nanoUsd: 70 }) })
    const isFirst = windowAt('month', Date.now()).start > at
    expect((await store.limits.look(t, [day, month])).map(({ used }) => used)).toEqual([0, isFirst ? 0 : 70])
  })

  test('the minute before counts by the part of it that is less than a minute ago', async () => {
    const store = current()
    const limit = budget(2_000, { what: 'requests', window: 'minute' })
    // Again where the minute ended meanwhile.
    for (let tries = 0; ; tries++) {
      const t = tenant()
      const minute = windowAt('minute', Date.now()).start
      const at = minute - 30_000
      await store.limits.charge({ tenant: t, id: 'x', at, limits: [limit], amounts: amounts({ requests: 1_000 }) })
      const [state] = await store.limits.look(t, [limit])
      const { used = -1, remaining, resetMs = 0 } = state ?? {}
      const fits = { tenant: t, limits: [limit], ttlMs: LONG_MS }
      const all = await store.limits.reserve({ ...fits, id: 'all', amounts: amounts({ requests: 2_000 }) })
      if (windowAt('minute', Date.now()).start !== minute && tries < 5) continue
      expect(used).toBe(Math.ceil((1_000 * resetMs) / 60_000))
      expect(remaining).toBe(2_000 - used)
      expect(all.granted).toBe(all.states[0]?.used === 2_000)
      break
    }
  })

  test('windows end as the calendar has it', async () => {
    const store = current()
    for (const window of ['day', 'month'] as const) {
      const [state] = await store.limits.look(tenant(), [budget(1, { window })])
      const apart = Date.now() + (state?.resetMs ?? 0) - windowAt(window, Date.now()).end
      expect(Math.abs(apart)).toBeLessThan(60_000)
    }
  })

  test('a counter that was lost is brought back; of two who do it the larger amount counts', async () => {
    const store = current()
    const t = tenant()
    const limit = budget(1_000)
    const request = (id: string, nanoUsd: number) => ({
      tenant: t,
      id,
      limits: [limit],
      amounts: amounts({ nanoUsd }),
      ttlMs: LONG_MS,
    })
    expect(await store.limits.reserve(request('first', 10))).toMatchObject({ states: [{ used: 10, isNew: true }] })
    for (const amount of [600, 400, 700]) await store.limits.restore(t, limit, amount)
    expect(await store.limits.look(t, [limit])).toMatchObject([{ used: 710, remaining: 290 }])
    expect(await store.limits.reserve(request('too much', 291))).toMatchObject({ granted: false })
    expect(await store.limits.reserve(request('fits', 290))).toMatchObject({ granted: true })
  })

  test('an idempotency key is claimed once, replayed when done, and bound to its body and tenant', async () => {
    const store = current()
    const t = tenant()
    const request = (overrides: Partial<ClaimRequest> = {}) => aClaim({ tenant: t, key: 'order 1', ...overrides })
    const requests = Array.from({ length: 10 }, () => request())
    const claims = await Promise.all(requests.map((one) => store.idempotency.claim(one)))
    expect(claims.map(({ state }) => state).sort()).toEqual(['claimed', ...Array(9).fill('in_flight')])
    const { token } = requests[claims.findIndex(({ state }) => state === 'claimed')]!
    expect(await store.idempotency.claim(request({ bodyHash: 'b2' }))).toEqual({ state: 'mismatch' })
    expect(await store.idempotency.claim(request({ tenant: tenant() }))).toEqual({ state: 'claimed' })
    const response = Buffer.from([0, 255, 10, 128])
    expect(await store.idempotency.complete(t, 'order 1', 'not the token', response, KEEPING)).toBe(false)
    expect(await store.idempotency.complete(t, 'order 1', token, response, KEEPING)).toBe(true)
    expect(await store.idempotency.claim(request())).toEqual({ state: 'done', response })
    expect(await store.idempotency.claim(request({ bodyHash: 'b2' }))).toEqual({ state: 'mismatch' })
  })

  test('asked again, as after a lost reply: a claim is a claim, an end is an end', async () => {
    const store = current()
    const t = tenant()
    const claim = aClaim({ tenant: t })
    for (let i = 0; i < 2; i++) expect(await store.idempotency.claim(claim)).toEqual({ state: 'claimed' })
    const response = Buffer.from('an answer')
    for (let i = 0; i < 2; i++) {
      expect(await store.idempotency.complete(t, claim.key, claim.token, response, KEEPING)).toBe(true)
    }
    expect(await store.idempotency.claim(claim)).toEqual({ state: 'done', response })
    const other = aClaim({ tenant: t, key: 'k2' })
    await store.idempotency.claim(other)
    for (let i = 0; i < 2; i++) await store.idempotency.release(t, 'k2', other.token)
    expect(await store.idempotency.claim(aClaim({ tenant: t, key: 'k2' }))).toEqual({ state: 'claimed' })
  })

  test('an idempotency key is free again when it is released, has run out, or its answer is too large to keep', async () => {
    const store = current()
    const t = tenant()
    const claim = (key: string) => store.idempotency.claim(aClaim({ tenant: t, key }))
    const claimed = async (overrides: Partial<ClaimRequest>) => {
      const request = aClaim({ tenant: t, ...overrides })
      expect(await store.idempotency.claim(request)).toEqual({ state: 'claimed' })
      return request.token
    }
    await store.idempotency.release(t, 'a', await claimed({ key: 'a' }))
    expect(await claim('a')).toEqual({ state: 'claimed' })
    const large = Buffer.alloc(MAX_REPLAY_BYTES + 1)
    expect(await store.idempotency.complete(t, 'b', await claimed({ key: 'b' }), large, KEEPING)).toBe(false)
    expect(await claim('b')).toEqual({ state: 'claimed' })
    const late = await claimed({ key: 'c', ttlMs: 20 })
    await until(async () => (await claim('c')).state === 'claimed')
    expect(await store.idempotency.complete(t, 'c', late, Buffer.from('x'), KEEPING)).toBe(false)
  })

  test('more keys than a tenant may have push out answers, not what is in work', async () => {
    const store = current()
    const t = tenant()
    const response = Buffer.from('an answer')
    const answered = async (i: number) => {
      const request = aClaim({ tenant: t, key: `k-${i}` })
      await store.idempotency.claim(request)
      await store.idempotency.complete(t, request.key, request.token, response, KEEPING)
    }
    for (let from = 0; from < MAX_REPLAYS; from += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, i) => answered(from + i)))
    }
    const inWork = aClaim({ tenant: t, key: 'in work' })
    expect(await store.idempotency.claim(inWork)).toEqual({ state: 'claimed' })
    await answered(MAX_REPLAYS)
    expect(await store.idempotency.claim(aClaim({ tenant: t, key: 'in work' }))).toEqual({ state: 'in_flight' })
    // The oldest went: one for each that came.
    const states = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) =>
        store.idempotency.claim(aClaim({ tenant: t, key: `k-${i}`, bodyHash: '' })),
      ),
    )
    expect(states.some(({ state }) => state === 'claimed')).toBe(true)
    expect(await store.idempotency.claim(aClaim({ tenant: t, key: `k-${MAX_REPLAYS}` }))).toEqual({
      state: 'done',
      response,
    })
  }, 120_000)

  test("a tenant's kept answers have a bound in bytes: the oldest go, claims stay, others' are untouched", async () => {
    const store = current()
    const [t, other] = [tenant(), tenant()]
    const answered = async (of: string, key: string, bytes: number) => {
      const request = aClaim({ tenant: of, key })
      expect(await store.idempotency.claim(request)).toEqual({ state: 'claimed' })
      const keeping = { keepMs: LONG_MS, maxBytes: 1_000 }
      return store.idempotency.complete(of, key, request.token, Buffer.alloc(bytes, key), keeping)
    }
    const kept = async (of: string, key: string) =>
      (await store.idempotency.claim(aClaim({ tenant: of, key, bodyHash: 'b' }))).state
    expect(await answered(other, 'a', 900)).toBe(true)
    expect(await store.idempotency.claim(aClaim({ tenant: t, key: 'in work' }))).toEqual({ state: 'claimed' })
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(await answered(t, key, 300)).toBe(true)
      // They are ordered by milliseconds.
      await sleep(2)
    }
    expect(await Promise.all(['b', 'c', 'd', 'in work'].map((key) => kept(t, key)))).toEqual([
      'done',
      'done',
      'done',
      'in_flight',
    ])
    expect(await kept(t, 'a')).toBe('claimed')
    expect(await kept(other, 'a')).toBe('done')
    expect(await answered(t, 'too large', 1_001)).toBe(false)
    expect(await answered(t, 'e', 1_000)).toBe(true)
    expect(await Promise.all(['b', 'c', 'd'].map((key) => kept(t, key)))).toEqual(['claimed', 'claimed', 'claimed'])
  })

  test("an erased user's kept answers go with them", async () => {
    const store = current()
    const t = tenant()
    const request = aClaim({ tenant: t, user: 'gone' })
    await store.idempotency.claim(request)
    await store.idempotency.complete(t, request.key, request.token, Buffer.from('an answer'), KEEPING)
    expect(await store.eraseUser(t, 'gone')).toBe(1)
    expect(await store.idempotency.claim(aClaim({ tenant: t, user: 'gone' }))).toEqual({ state: 'claimed' })
  })
}

const aClaim = (overrides: Partial<ClaimRequest> & { tenant: string }): ClaimRequest => ({
  user: 'u',
  key: 'k',
  bodyHash: 'b',
  token: randomUUID(),
  ttlMs: LONG_MS,
  ...overrides,
})
