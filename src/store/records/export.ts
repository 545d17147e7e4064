import type { RecordFilter, Store } from '../store.ts'
import { exportedLine, rewardLine } from './codec.ts'

/**
 * Writes interactions, then rewards, as JSON lines (`docs/records.md`), in memory for one batch.
 *
 * @param write takes a chunk of whole lines; the next comes when its promise resolves
 * @throws StoreError when the store fails midway: what was written then is not all there is
 */
export async function exportRecords(
  store: Store,
  filter: RecordFilter,
  write: (chunk: string) => void | Promise<void>,
): Promise<{ interactions: number; rewards: number }> {
  let [interactions, rewards] = [0, 0]
  for await (const batch of store.readInteractions(filter)) {
    await write(`${batch.map(exportedLine).join('\n')}\n`)
    interactions += batch.length
  }
  for await (const batch of store.readRewards(filter)) {
    await write(`${batch.map(rewardLine).join('\n')}\n`)
    rewards += batch.length
  }
  return { interactions, rewards }
}
