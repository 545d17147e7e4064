import type { InteractionRecord, RewardRecord } from '../store/records/codec.ts'

/** All that a report looks at: most of a row is something else. */
export const LOOKED = [
  ...(['id', 'ts', 'user', 'policy', 'chosen', 'reason', 'arm', 'group', 'gain', 'candidates', 'shadow'] as const),
  ...(['status', 'finishReason', 'costUsd', 'baselineUsd', 'ttftMs', 'totalMs'] as const),
] satisfies (keyof InteractionRecord)[]
export const SAID = ['interaction', 'user', 'kind', 'ts', 'value'] as const satisfies (keyof RewardRecord)[]

/** What a report knows of an answer. */
export type Answered = Pick<InteractionRecord, (typeof LOOKED)[number]>
export type Said = Pick<RewardRecord, (typeof SAID)[number]>
