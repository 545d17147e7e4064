import type { RewardRecord } from '../store/records/codec.ts'
import type { RewardKind } from '../store/records/records.ts'

interface Kind {
  /**
   * What nobody said in so many words: paced, since learning one takes some milliseconds, and a loop of requests would
   * give one each.
   */
  hint: boolean
  /** Whether it is the user's own voice among what the tenant's users know of an LLM. */
  ofUser: boolean
  /** Said of the answer itself: reports and the measured gain count it, and it takes back an earlier preference. */
  rates: boolean
}

/** Every kind of reward, and what sets it apart. What a kind weighs, the artifact learned. */
const KINDS = {
  rating: { hint: false, ofUser: true, rates: true },
  preference: { hint: false, ofUser: true, rates: false },
  regeneration: { hint: true, ofUser: true, rates: false },
  edit: { hint: true, ofUser: true, rates: false },
  continuation: { hint: true, ofUser: true, rates: false },
  abort: { hint: true, ofUser: true, rates: false },
  judge: { hint: false, ofUser: false, rates: false },
} as const satisfies Record<RewardKind, Kind>

export type HintKind = { [K in RewardKind]: (typeof KINDS)[K]['hint'] extends true ? K : never }[RewardKind]

export const propertiesOf = (kind: RewardKind): Kind => KINDS[kind]

/** A kind as an artifact's manifest has it: a thumb is a yes or no, a number is a measurement. */
export type EdgeKind = RewardKind | 'thumb'

export const edgeKindOf = ({ kind, binary }: RewardRecord): EdgeKind => (kind === 'rating' && binary ? 'thumb' : kind)

/** The manifest's word for a kind that an older artifact may not know. */
const OTHERWISE: Readonly<Record<string, string>> = { thumb: 'rating' }

/** Its number in a manifest's list; -1 where the artifact can't read it. */
export function kindIndex(kinds: readonly string[], kind: string): number {
  const index = kinds.indexOf(kind)
  return index < 0 ? kinds.indexOf(OTHERWISE[kind] ?? kind) : index
}
