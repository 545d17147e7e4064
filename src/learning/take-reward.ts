import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { Telemetry } from '../observability/telemetry/telemetry.ts'
import { voiceOf } from '../routing/choose/evidence.ts'
import type { Policies } from '../routing/policies/policies.ts'
import type { Gains } from '../routing/safety/gains.ts'
import type { Recorder } from '../store/recorder/recorder.ts'
import type { RewardRecord } from '../store/records/codec.ts'
import type { InteractionSummary } from '../store/store.ts'
import type { ArmReport } from './arm-report.ts'
import { propertiesOf } from './kinds.ts'
import type { Learner, Standing } from './learner.ts'

export interface RewardDeps {
  recorder: Recorder
  policies: Policies
  learner: Learner
  arms: ArmReport
  gains: Gains
  metrics: Metrics
  /** Null where none is configured. */
  telemetry: Telemetry | null
  log: Logger
}

/**
 * The one way of every reward: into the log, into the metrics, into the user's belief. Resolves when the belief is
 * stored; never rejects, since the reward is in the log already.
 */
export async function takeReward(
  deps: RewardDeps,
  reward: RewardRecord,
  interaction: InteractionSummary,
): Promise<void> {
  const { tenant, user } = interaction
  deps.recorder.reward(reward)
  deps.metrics.rewards.inc({ tenant, kind: reward.kind })
  deps.telemetry?.reward(reward)
  const { policy } = deps.policies.snapshot(tenant, user)
  if (!policy) return
  const { rates } = propertiesOf(reward.kind)
  if (rates)
    deps.arms.note(tenant, deps.policies.audienceOf(tenant) === tenant ? 'own' : 'shared', policy.version, reward.value)
  try {
    // The first rating of an answer alone: a bet is not made twice.
    const onFirst = rates ? (standing: Standing) => noteGain(deps, reward, interaction, standing) : undefined
    await deps.learner.apply(policy, reward, interaction, onFirst)
  } catch (error) {
    deps.metrics.storeErrors.inc({ call: 'learn' })
    deps.log.warn({ err: error, tenant, kind: reward.kind }, 'a reward is recorded, but not learned yet')
  }
}

/** Of one user in a certificate. */
const RATINGS_A_USER = 100

/** Of users who count for others, as in the evidence on LLMs. @param standing the user's, before this rating */
async function noteGain(
  { gains }: RewardDeps,
  reward: RewardRecord,
  interaction: InteractionSummary,
  { isHeard, ratings }: Standing,
) {
  const { tenant, user, gain, key = '', vouched = false } = interaction
  if (!gain || !isHeard || ratings >= RATINGS_A_USER) return
  const { baseline, policy, group, ...lift } = gain
  const by = { voice: voiceOf({ user, key, vouched }), isNew: ratings === 0 }
  await gains.note({ tenant, policy, baseline }, group, lift, reward.value, by)
}
