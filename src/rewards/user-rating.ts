import type { Feedback } from '../http/feedback.ts'
import type { RewardRecord } from '../store/records.ts'
import type { InteractionSummary } from '../store/store.ts'

/** The rewards that a feedback stands for: its rating on [-1, 1], and its preferred model. */
export function ratingRewards(feedback: Feedback, interaction: InteractionSummary, ts: number): RewardRecord[] {
  const { rating, preferred_model: preferred, comment } = feedback
  const common = {
    interaction: interaction.id,
    tenant: interaction.tenant,
    user: interaction.user,
    weight: 1,
    ts,
    comment: comment ?? null,
  }
  const rewards: RewardRecord[] = []
  if (rating !== undefined) {
    const value = rating === 'up' ? 1 : rating === 'down' ? -1 : 2 * rating - 1
    rewards.push({ ...common, kind: 'rating', value, binary: typeof rating === 'string', preferredModel: null })
  }
  if (preferred !== undefined) {
    const value = preferred === interaction.candidate ? 1 : -1
    rewards.push({ ...common, kind: 'preference', value, binary: true, preferredModel: preferred })
  }
  return rewards
}
