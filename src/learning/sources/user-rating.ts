import type { RewardRecord } from '../../store/records/codec.ts'
import type { InteractionSummary } from '../../store/store.ts'

/**
 * What a user said of an answer: a thumb, or a number from 0 (bad) to 1 (good); and which model they would rather have
 * had.
 */
export interface Rating {
  rating?: 'up' | 'down' | number | undefined
  preferred_model?: string | undefined
  comment?: string | undefined
}

/**
 * Feedback as rewards: one for the rating, one for the preference.
 *
 * @param ts when it came: the latest of the same kind wins
 */
export function ratingRewards(
  { rating, preferred_model, comment }: Rating,
  { id, tenant, user, candidate, ts: askedAt }: Pick<InteractionSummary, 'id' | 'tenant' | 'user' | 'candidate' | 'ts'>,
  ts: number,
): RewardRecord[] {
  const about = { interaction: id, tenant, user, weight: 1, ts, askedAt, comment: comment ?? null }
  const rewards: RewardRecord[] = []
  if (rating !== undefined) {
    rewards.push({ ...about, kind: 'rating', ...valueOfRating(rating), preferredModel: preferred_model ?? null })
  }
  if (preferred_model !== undefined) {
    const value = preferred_model === candidate ? 1 : -1
    rewards.push({ ...about, kind: 'preference', value, binary: true, preferredModel: preferred_model })
  }
  return rewards
}

/** On the scale of rewards, -1 to 1. A thumb is a yes or no of unknown strength, a number is a measurement. */
function valueOfRating(rating: 'up' | 'down' | number): { value: number; binary: boolean } {
  if (rating === 'up') return { value: 1, binary: true }
  if (rating === 'down') return { value: -1, binary: true }
  return { value: 2 * rating - 1, binary: false }
}
