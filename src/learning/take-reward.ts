import type { Services } from '../parts.ts'
import type { RewardRecord } from '../store/records/records.ts'
import type { InteractionSummary } from '../store/store.ts'

/**
 * The one way of every reward: into the log, into the metrics, into the user's belief. Resolves when the belief is
 * stored; never rejects, since the reward is in the log already.
 */
export async function takeReward(
  services: Services,
  reward: RewardRecord,
  interaction: InteractionSummary,
): Promise<void> {
  const { tenant, user } = interaction
  services.recorder.reward(reward)
  services.metrics.rewards.inc({ tenant, kind: reward.kind })
  const { policy } = services.policies.snapshot(tenant, user)
  if (!policy) return
  if (reward.kind === 'rating') services.arms.note(services.policies.audienceOf(tenant), policy.version, reward.value)
  try {
    await services.learner.apply(policy, reward, interaction)
  } catch (error) {
    services.metrics.storeErrors.inc({ call: 'learn' })
    services.log.warn({ err: error, tenant, kind: reward.kind }, 'a reward is recorded, but not learned yet')
  }
}
