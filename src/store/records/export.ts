import type { RecordFilter, Store } from '../store.ts'
import { exportedLine, type InteractionRecord, rewardLine } from './codec.ts'

/**
 * Writes interactions, then rewards, as JSON lines (`docs/records.md`), in memory for one batch.
 *
 * @param open gives a record the vector with which it is exported; by default none
 * @param write takes a chunk of whole lines; the next comes when its promise resolves
 * @throws StoreError when the store fails midway: what was written then is not all there is
 */
export async function exportRecords(
  store: Pick<Store, 'readInteractions' | 'readRewards'>,
  filter: RecordFilter,
  write: (chunk: string) => void | Promise<void>,
  open: (record: InteractionRecord) => Promise<InteractionRecord> = async (record) => ({ ...record, embedding: null }),
): Promise<{ interactions: number; rewards: number }> {
  let [interactions, rewards] = [0, 0]
  for await (const batch of store.readInteractions(filter)) {
    const opened = await Promise.all(batch.map(open))
    await write(`${opened.map(exportedLine).join('\n')}\n`)
    interactions += batch.length
  }
  for await (const batch of store.readRewards(filter)) {
    await write(`${batch.map(rewardLine).join('\n')}\n`)
    rewards += batch.length
  }
  return { interactions, rewards }
}
