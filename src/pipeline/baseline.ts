import { hash } from 'node:crypto'
import type { Tenant, UserIds } from '../candidates/tenants.ts'
import type { RouterConfig } from '../config/schema.ts'
import type { BaselineRule } from '../routing/choose/choose.ts'
import { type Comparison, type Gains, groupOf } from '../routing/safety/gains.ts'
import type { Modes } from '../routing/safety/modes.ts'

/** What a request's choice is compared with, and what its rating will count for. */
export interface Baseline {
  rule: BaselineRule
  comparison: Comparison
  group: ReturnType<typeof groupOf>
}

/** Who asks: `user` as stored. */
export interface Asking {
  tenant: Tenant
  user: string
  /** Rewards of the user so far. */
  rewards: number
  /** Artifact version. */
  policy: string
}

export interface BaselineDeps {
  gains: Pick<Gains, 'routed'>
  modes: Pick<Modes, 'of'>
  userIds: Pick<UserIds, 'stored'>
}

/** Name of the candidate that would answer a tenant without a router; undefined where none is configured. */
export const baselineName = ({ baseline }: Pick<RouterConfig, 'baseline'>, tenant: Tenant): string | undefined =>
  tenant.config.baseline ?? baseline

/** The baseline of a tenant, and how far the router may stand in for it with this user; null where there is none. */
export function baselineOf(
  config: Pick<RouterConfig, 'baseline' | 'mode' | 'trial_share' | 'holdout'>,
  { gains, modes, userIds }: BaselineDeps,
  { tenant, user, rewards, policy }: Asking,
): Baseline | null {
  const candidate = baselineName(config, tenant)
  if (candidate === undefined) return null
  const comparison = { tenant: tenant.name, policy, baseline: candidate }
  const group = groupOf(rewards)
  if (isHeldOut(tenant, user, tenant.config.holdout ?? config.holdout, userIds)) {
    return { rule: { candidate, routed: 0, why: 'holdout' }, comparison, group }
  }
  const mode = modes.of(tenant.name) ?? tenant.config.mode ?? config.mode
  const routed = gains.routed(mode, comparison, group, config.trial_share)
  return { rule: { candidate, routed, why: 'baseline' }, comparison, group }
}

/** The same answer for a user in every process and at all times; another draw than that of a canary. */
function isHeldOut({ name, config }: Tenant, user: string, share: number, userIds: Pick<UserIds, 'stored'>): boolean {
  if (share === 0 || config.never_held_out.some((id) => userIds.stored(config, id) === user)) return false
  return hash('sha256', `holdout\0${name}\0${user}`, 'buffer').readUInt32LE(0) / 2 ** 32 < share
}
