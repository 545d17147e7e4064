import type { Parts } from '../parts.ts'
import type { RewardRecord } from '../store/records/records.ts'
import type { InteractionSummary } from '../store/store.ts'

/**
 * The one way of every reward: into the log, into the metrics, into the user's belief. Resolves when the belief is stored; never rejects, since the
 * reward is in the log already.
 */
export async function takeReward(parts: Parts, reward: RewardRecord, interaction: InteractionSummary): Promise<void> {
  const { tenant, user } = interaction
  parts.recorder.reward(reward)
  parts.metrics.rewards.inc({ tenant, kind: reward.kind })
  const { policy } = parts.policies.snapshot(tenant, user)
  if (!policy) return
  if (reward.kind === 'rating') parts.arms.note(parts.policies.audienceOf(tenant), policy.version, reward.value)
  try {
    await parts.learner.apply(policy, reward, interaction)
  } catch (error) {
    parts.metrics.storeErrors.inc({ call: 'learn' })
    parts.log.warn({ err: error, tenant, kind: reward.kind }, 'a reward is recorded, but not learned yet')
  }
}
