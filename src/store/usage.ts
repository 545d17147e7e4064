import type { Amounts } from './limits.ts'
import type { InteractionRecord } from './records/codec.ts'

/** What was used in a day, by UTC. */
export interface Used extends Pick<Amounts, 'requests' | 'nanoUsd'> {
  promptTokens: number
  completionTokens: number
}

export interface UsageRow extends Used {
  /** `2026-11-28` */
  day: string
  scope: UsageScope
  /** Id of the key, or the user as stored; '' for the tenant. */
  id: string
  /** Name of the candidate that answered. */
  model: string
}

export type UsageScope = 'tenant' | 'key' | 'user'

export interface UsageFilter {
  scope: UsageScope
  /** One key or user; all where left out. */
  id?: string
  /** Days, inclusive. */
  from: string
  to: string
}

/**
 * What tenants, their keys and users have used, by model and day: counted once a record, with it. Methods reject with
 * `StoreError`.
 */
export interface UsageLog {
  /** In order of days. */
  read(tenant: string, filter: UsageFilter): Promise<UsageRow[]>
}

const DAY_MS = 86_400_000
/** Tenants' and keys' sums are kept for so many days; users' as long as log rows. */
export const USAGE_DAYS = 400
/** Users of a tenant that are counted by themselves in one day; what comes after them is counted under this id. */
export const MAX_USERS_A_DAY = 10_000
export const OTHER_USERS = '*'

export const dayOf = (ts: number): string => new Date(ts).toISOString().slice(0, 10)

/** All days from one to another; of more than `USAGE_DAYS` the latest, of which alone there can be sums. */
export function daysBetween(from: string, to: string): string[] {
  const [first, asked] = [from, to].map((day) => Date.parse(`${day}T00:00:00Z`)) as [number, number]
  const most = USAGE_DAYS * DAY_MS
  // Clocks of replicas differ.
  const tomorrow = Date.parse(dayOf(Date.now() + DAY_MS))
  const last = asked - first > most ? Math.min(asked, Math.max(first, tomorrow)) : asked
  const days: string[] = []
  for (let at = Math.max(first, last - most); at <= last; at += DAY_MS) days.push(dayOf(at))
  return days
}

/** All days that reach back so far from now. */
export const daysBack = (ms: number): string[] =>
  daysBetween(dayOf(Date.now() - Math.min(ms, (USAGE_DAYS - 1) * DAY_MS)), dayOf(Date.now()))

/** What a record adds. */
export const usedOf = (record: InteractionRecord): Used => ({
  requests: 1,
  promptTokens: record.usage.promptTokens,
  completionTokens: record.usage.completionTokens,
  nanoUsd: Math.round(billedUsd(record) * 1e9),
})

/** Dollars for all of a request's tries. */
export const billedUsd = ({ attempts, costUsd }: Pick<InteractionRecord, 'attempts' | 'costUsd'>): number =>
  attempts.some(({ cost_usd }) => cost_usd !== undefined)
    ? attempts.reduce((sum, { cost_usd }) => sum + (cost_usd ?? 0), 0)
    : costUsd
