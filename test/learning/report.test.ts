import { expect, it } from 'vitest'
import { seeded } from '../../demo/random.ts'
import { OUTCOMES } from '../../src/learning/baseline-differences.ts'
import { makeReport, type Part } from '../../src/learning/report.ts'
import { ShadowValues } from '../../src/learning/shadow-values.ts'
import type { InteractionRecord, RewardRecord } from '../../src/store/records/codec.ts'
import { scoredCandidates } from '../../src/store/records/scored-candidates.ts'
import { expectClose } from '../support/close.ts'

const DAY_MS = 86_400_000
const START = Date.UTC(2026, 10, 20)
const NAMES = ['usual', 'cheap', 'dear']
/** What the router wants, and with what probability it, or the baseline, answers. */
const WANTED = [0.2, 0.5, 0.3]
const DRAWN = WANTED.map((p, i) => 0.8 * p + (i === 0 ? 0.2 : 0))
/** True means of an answer by each. */
const COST = [0.01, 0.002, 0.03]
const REWARD = [0.2, 0.25, 0.6]
const TTFT = [300, 150, 900]

const candidates = scoredCandidates(
  NAMES.map((name, i) => ({ candidate: { name }, mean: REWARD[i] as number, std: 0.1, costUsd: COST[i] as number })),
  DRAWN,
  true,
)

/** What a shadow would have chosen. */
const SHADOWED = [0.1, 0.1, 0.8]
const shadowed = scoredCandidates(
  NAMES.map((name, i) => ({ candidate: { name }, mean: 0, std: 0.1, costUsd: COST[i] as number })),
  SHADOWED,
  true,
)

function logOf(
  requests: number,
  seed: number,
  hasShadow = false,
): { rows: InteractionRecord[]; rewards: RewardRecord[] } {
  const random = seeded(seed)
  const rows: InteractionRecord[] = []
  const rewards: RewardRecord[] = []
  for (let n = 0; n < requests; n++) {
    const heldOut = n % 10 === 0
    const draw = random()
    const chosen = heldOut
      ? 0
      : draw < (DRAWN[0] as number)
        ? 0
        : draw < (DRAWN[0] as number) + (DRAWN[1] as number)
          ? 1
          : 2
    const costUsd = (COST[chosen] as number) * (0.5 + random())
    const isBaseline = chosen === 0
    const group = (['new', 'known', 'regular'] as const)[n % 3] as 'new'
    const weight = ((WANTED[chosen] as number) - (isBaseline ? 1 : 0)) / (DRAWN[chosen] as number)
    rows.push({
      ...{
        id: `i${n}`,
        ts: START + (n % 4) * DAY_MS,
        tenant: 't',
        user: `u${n % 50}`,
        policy: 'v1',
        reason: 'personal',
      },
      ...{
        chosen: NAMES[chosen],
        candidates,
        ...(hasShadow && !heldOut && { shadow: { policy: 'rival', candidates: shadowed } }),
        costUsd,
        baselineUsd: (costUsd / (COST[chosen] as number)) * 0.01,
        group,
      },
      ...{ status: 200, finishReason: 'stop', ttftMs: (TTFT[chosen] as number) * (0.5 + random()) },
      ...{ totalMs: 2_000 * (0.5 + random()), arm: heldOut ? 'holdout' : 'route' },
      gain: heldOut ? null : { baseline: 'usual', policy: 'v1', group, weight, least: -2, largest: 2 },
    } as unknown as InteractionRecord)
    const value = random() < (1 + (REWARD[chosen] as number)) / 2 ? 1 : -1
    if (n % 2 === 0 || heldOut) {
      rewards.push({
        interaction: `i${n}`,
        user: `u${n % 50}`,
        tenant: 't',
        kind: 'rating',
        value,
        ts: START,
      } as RewardRecord)
    }
  }
  return { rows, rewards }
}

function reportOf(requests: number, seed: number) {
  const { rows, rewards } = logOf(requests, seed)
  const store = {
    async *readInteractions() {
      for (let at = 0; at < rows.length; at += 3_000) yield rows.slice(at, at + 3_000)
    },
    async *readRewards() {
      yield rewards
    },
  }
  return makeReport(store, { tenant: 't', since: START, until: START + 4 * DAY_MS })
}
const report = await reportOf(20_000, 4)
const mean = (values: number[]) =>
  WANTED.reduce((sum, p, i) => sum + p * (values[i] as number), 0) - (values[0] as number)

it('totals add up, however they are taken apart', () => {
  const sums = ['requests', 'failed', 'cost_usd', 'baseline_usd', 'saved_usd', 'ratings'] as const
  for (const parts of [report.by_arm, report.by_model, report.by_policy, report.by_day, report.by_group]) {
    for (const name of sums) {
      const sum = Object.values(parts).reduce((total: number, part: Part) => total + part[name], 0)
      expectClose(sum, report.total[name], 1e-9)
    }
  }
  expectClose(report.total.saved_usd, report.total.baseline_usd - report.total.cost_usd, 1e-9)
  expect(Object.keys(report.by_group)).toEqual(['known', 'new', 'regular'])
})

it('the router against the baseline in reward, cost and latency: 95 % of the intervals hold the truth', async () => {
  const truth = { reward: mean(REWARD), cost_usd: mean(COST), ttft_ms: mean(TTFT) }
  const within = { reward: 0, cost_usd: 0, ttft_ms: 0, holdout: 0 }
  const holds = (interval: readonly [number, number] | undefined, value: number) =>
    Number(interval !== undefined && interval[0] < value && value < interval[1])
  for (let seed = 0; seed < 40; seed++) {
    const { drawn, holdout } = (await reportOf(2_000, 100 + seed)).against_baseline
    for (const name of ['reward', 'cost_usd', 'ttft_ms'] as const) {
      within[name] += holds(drawn?.total[name]?.interval, truth[name])
    }
    // Whoever is not held out gets the router in four fifths of their requests.
    within.holdout += holds(holdout?.total.cost_usd?.interval, 0.8 * truth.cost_usd)
  }
  // Of 40 with 95 % each, fewer than 34 are as rare as one in a thousand.
  for (const [name, times] of Object.entries(within)) expect([name, times >= 34]).toEqual([name, true])
  const [low, high] = report.against_baseline.drawn?.total.ttft_ms?.interval ?? [0, 1e9]
  expect(high - low).toBeLessThan(0.5 * truth.ttft_ms)
})

it('differences of groups, days and models add up to the whole', () => {
  const { drawn } = report.against_baseline
  for (const outcome of OUTCOMES) {
    const whole = drawn?.total[outcome]
    const sum = whole ? whole.estimate * whole.observations : Number.NaN
    const of = (parts = {} as NonNullable<typeof drawn>['by_day']) => Object.values(parts).map((part) => part[outcome])
    for (const parts of [drawn?.by_day, drawn?.by_group]) {
      const added = of(parts).reduce((total, one) => total + (one ? one.estimate * one.observations : 0), 0)
      expectClose(added, sum, 1e-6)
    }
    const models = of(drawn?.by_model).reduce((total, one) => total + (one?.estimate ?? 0), 0)
    expectClose(models, whole?.estimate ?? Number.NaN, 1e-6)
  }
  // The dear one is what the router pays more for, and gains by.
  expect(Object.keys(drawn?.by_model ?? {})).toEqual(['cheap', 'dear'])
  expect(drawn?.by_model.dear?.cost_usd?.interval[0]).toBeGreaterThan(0)
  expect(drawn?.by_model.cheap?.cost_usd?.interval[1]).toBeLessThan(0)
})

function shadowOf(requests: number, seed: number) {
  const { rows, rewards } = logOf(requests, seed, true)
  const ratings = new Map(rewards.map(({ interaction, value }) => [interaction, value]))
  const shadows = new ShadowValues()
  for (const row of rows) shadows.add(row, ratings.get(row.id))
  return shadows.report().rival
}

it('says of a shadow how often it would choose alike, and what it would bring: most intervals hold the truth', () => {
  const truth = SHADOWED.reduce((sum, p, i) => sum + (p - (DRAWN[i] as number)) * (REWARD[i] as number), 0)
  let within = 0
  for (let seed = 0; seed < 40; seed++) {
    const [low, high] = shadowOf(1_000, 300 + seed)?.interval ?? [0, 0]
    within += Number(low < truth && truth < high)
  }
  expect(within).toBeGreaterThanOrEqual(34)
  const found = shadowOf(10_000, 4)
  expect(found?.interval?.[0]).toBeGreaterThan(0)
  const alike = SHADOWED.reduce((sum, p, i) => sum + p * (DRAWN[i] as number), 0)
  expectClose(found?.agreement ?? 0, alike, 1e-5)
  expect(found?.unsupported).toBe(0)
})

it('tells how much of a shadow nothing is known of', async () => {
  const never = scoredCandidates(
    NAMES.map((name, i) => ({ candidate: { name }, mean: REWARD[i] as number, std: 0.1, costUsd: COST[i] as number })),
    [0, 1, 0],
    true,
  )
  const rows = logOf(200, 5, true).rows.map((row) => ({ ...row, chosen: 'cheap', candidates: never }))
  const rewards = rows.map(({ id, user }) => ({ interaction: id, user, kind: 'rating', value: 1, ts: START }))
  const store = {
    async *readInteractions() {
      yield rows
    },
    async *readRewards() {
      yield rewards as unknown as RewardRecord[]
    },
  }
  const { shadows } = await makeReport(store, { tenant: 't', since: START, until: START + 4 * DAY_MS })
  expectClose(shadows.rival?.unsupported ?? 0, 0.9, 1e-5)
  expect(shadows.rival).toMatchObject({ requests: 180, ratings: 180 })
})

it('says nothing where nothing is known', async () => {
  const nothing = { async *readInteractions() {}, async *readRewards() {} }
  const empty = await makeReport(nothing, { tenant: 't', since: 0, until: 1 })
  expect(empty.against_baseline).toEqual({ drawn: null, holdout: null })
  expect(empty.shadows).toEqual({})
  expect(empty.total).toMatchObject({ requests: 0, reward: null, ttft_ms_median: null, total_ms_median: null })
})

it('tells what a user stated for what it is, though another answered; and what a later version knows the reason for', async () => {
  const [one] = logOf(1, 3).rows as [InteractionRecord]
  const { arm: _, gain: __, ...plain } = one
  const rows = [
    { ...plain, id: 'a', reason: 'stated' },
    { ...plain, id: 'b', reason: 'stated', arm: 'stated' },
    { ...plain, id: 'c', reason: 'fallback', arm: 'stated' },
    { ...plain, id: 'd', reason: 'of_tomorrow' },
    { ...plain, id: 'e', reason: 'fallback' },
  ] as unknown as InteractionRecord[]
  const rewards = rows.map(({ id, user }) => ({
    interaction: id,
    user,
    tenant: 't',
    kind: 'rating',
    value: 1,
    ts: START,
  }))
  const store = {
    async *readInteractions() {
      yield rows
    },
    async *readRewards() {
      yield rewards as RewardRecord[]
    },
  }
  const found = await makeReport(store, { tenant: 't', since: START, until: START + DAY_MS })
  const requests = (parts: Record<string, Part>) =>
    Object.fromEntries(Object.entries(parts).map(([k, v]) => [k, v.requests]))
  expect(requests(found.by_arm)).toEqual({ stated: 3, of_tomorrow: 1, route: 1 })
  expect(requests(found.by_policy)).toEqual({ v1: 1 })
  expect(found.against_baseline).toEqual({ drawn: null, holdout: null })
})
