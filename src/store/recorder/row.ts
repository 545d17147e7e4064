import type { Charge } from '../limits.ts'
import type { InteractionRecord, RewardRecord } from '../records/codec.ts'
import { interactionLine, readInteraction, readReward, rewardLine } from '../records/codec.ts'
import type { Store } from '../store.ts'
import { chargeLine, readCharge } from './charge-line.ts'

/** What a spool holds. */
export type Row =
  | { type: 'interaction'; record: InteractionRecord }
  | { type: 'reward'; record: RewardRecord }
  | { type: 'charge'; record: Charge }

/** Without a line end. */
export function lineOf({ type, record }: Row): string {
  if (type === 'charge') return chargeLine(record)
  return type === 'interaction' ? interactionLine(record) : rewardLine(record)
}

/** Null where it can't be read. */
export function readRow(line: string): Row | null {
  try {
    const { type, ...document } = JSON.parse(line)
    if (type === 'interaction') return { type, record: readInteraction(document) }
    if (type === 'reward') return { type, record: readReward(document) }
    if (type === 'charge') return { type, record: readCharge(document) }
  } catch {
    // Said by the result.
  }
  return null
}

/** @throws StoreError when the store is away; another error where it refuses one of them for good */
export async function appendRows(store: Store, rows: readonly Row[]): Promise<void> {
  const interactions = rows.flatMap((row) => (row.type === 'interaction' ? [row.record] : []))
  const rewards = rows.flatMap((row) => (row.type === 'reward' ? [row.record] : []))
  if (interactions.length > 0) await store.appendInteractions(interactions)
  if (rewards.length > 0) await store.appendRewards(rewards)
  await Promise.all(rows.map((row) => row.type === 'charge' && store.limits.charge(row.record)))
}
