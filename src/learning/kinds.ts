import type { RewardRecord } from '../store/records/codec.ts'
import type { RewardKind } from '../store/records/records.ts'

interface Kind {
  /**
   * Inferred from behaviour, not stated. Paced: learning one takes some milliseconds, and a loop of requests would
   * produce one each.
   */
  hint: boolean
  /** Counts as the user's own voice in the tenant's evidence on an LLM. */
  ofUser: boolean
  /** Rates the answer itself: counted by reports and by the measured gain; withdraws an earlier preference. */
  rates: boolean
}

/** Properties of each kind of reward. Its precision is learned, in the artifact. */
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

/** Of an edge: `kind` is as the manifest has it, and its id says where it comes from (`<answer>:<kind>`). */
export const isUsersWord = ({ id, kind }: { id: string; kind: string }): boolean =>
  !NOT_OF_USER.has(kind) && !NOT_OF_USER.has(id.split(':')[1] ?? '')
const NOT_OF_USER = new Set(Object.entries(KINDS).flatMap(([kind, { ofUser }]) => (ofUser ? [] : [kind])))

/** A kind as an artifact's manifest has it: a thumb is a yes or no, a number is a measurement. */
export type EdgeKind = RewardKind | 'thumb'

export function edgeKindOf({ kind, binary, preferredModel }: RewardRecord): EdgeKind {
  if (kind === 'rating' && binary) return 'thumb'
  // A judge that compared two answers has marked neither.
  return kind === 'judge' && preferredModel !== null ? 'preference' : kind
}

/** The manifest's word for a kind that an older artifact may not know. */
const OTHERWISE: Readonly<Record<string, string>> = { thumb: 'rating' }

/** Its number in a manifest's list; -1 where the artifact can't read it. */
export function kindIndex(kinds: readonly string[], kind: string): number {
  const index = kinds.indexOf(kind)
  return index < 0 ? kinds.indexOf(OTHERWISE[kind] ?? kind) : index
}
