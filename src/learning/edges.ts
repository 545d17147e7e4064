import { edgeId } from '../store/history.ts'
import type { RewardRecord } from '../store/records/codec.ts'
import type { InteractionSummary, StoredEdge } from '../store/store.ts'
import { edgeKindOf } from './kinds.ts'

/** A preference is one observation about two answers: each side gets half its precision. */
const HALF = 0.5

/**
 * The edges that a reward adds to its user's node.
 *
 * "I would rather have had Y" is +1 for Y, whose answer was not seen (its length and cost are the predicted ones),
 * and -1 for the one that answered, each with half the weight. It is counted beside a rating of the same answer: rated
 * up, an answer stays liked though another would have been liked better. A judge's comparison is read alike.
 *
 * @returns none where nothing of the question is known
 */
export function edgesOf(reward: RewardRecord, interaction: InteractionSummary): Omit<StoredEdge, 'seq'>[] {
  const { reading, reader, vector, candidate } = interaction
  if (!reading && !vector) return []
  const about = (id: string, of: Partial<StoredEdge>): Omit<StoredEdge, 'seq'> => ({
    id: edgeId(interaction.id, id),
    interaction: interaction.id,
    ts: reward.ts,
    candidate,
    reading,
    reader,
    vector,
    reward: reward.value,
    kind: edgeKindOf(reward),
    weight: reward.weight,
    promptTokens: interaction.promptTokens,
    completionTokens: interaction.ended ? interaction.completionTokens : -1,
    costUsd: interaction.ended ? interaction.costUsd : -1,
    vouched: interaction.vouched ?? false,
    ...of,
  })
  const { kind, preferredModel } = reward
  if (edgeKindOf(reward) !== 'preference' || preferredModel === null) return [about(kind, {})]
  if (preferredModel === candidate) return [about(kind, { reward: 1 })]
  const weight = HALF * reward.weight
  return [
    about(kind, { reward: -1, weight }),
    about(`${kind}:other`, { candidate: preferredModel, reward: 1, weight, completionTokens: -1, costUsd: -1 }),
  ]
}

/** An edge that says nothing any more: its messages are exactly zero. */
export const withdrawn = (edge: StoredEdge, ts: number): Omit<StoredEdge, 'seq'> => ({
  ...edge,
  vector: edge.vector && 'plain' in edge.vector.of ? null : edge.vector,
  ts,
  weight: 0,
})

/**
 * A rating without a preferred model takes back the preference of an earlier feedback: the latest feedback counts as a
 * whole.
 */
export function outdatedBy(reward: RewardRecord, kept: readonly StoredEdge[]): StoredEdge[] {
  const ids = new Set(['preference', 'preference:other'].map((said) => edgeId(reward.interaction, said)))
  return kept.filter(({ id, ts, weight }) => ids.has(id) && ts < reward.ts && weight > 0)
}
