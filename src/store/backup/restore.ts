import { applyRows, type Outcome, type Taking } from './apply.ts'
import type { BackupStore } from './contract.ts'
import { eraseWhatIsErased } from './erase.ts'
import type { Manifest, Part } from './manifest.ts'
import { checkPart, readPart } from './parts.ts'
import type { BackupRow, RowType } from './rows.ts'

export type Outcomes = Partial<Record<RowType, Partial<Record<Outcome, number>>>>

export interface RestoreOptions {
  /** Of the store: rows that are older are left out. */
  retentionMs: number
  /** Called after each batch. */
  onProgress?: (progress: { rows: number; type: string }) => void
}

/**
 * Brings what is in a backup into a store. Done again, or gone on with after an interruption, it comes to the same;
 * gateways may run on the store meanwhile.
 *
 * @returns what became of the rows, by type
 * @throws BackupError where a part is not as it was written. StoreError
 */
export async function restoreBackup(
  store: BackupStore,
  dir: string,
  { parts }: Pick<Manifest, 'parts'>,
  { retentionMs, onProgress }: RestoreOptions,
): Promise<Outcomes> {
  for (const part of parts) await checkPart(dir, part)
  const outcomes: Outcomes = {}
  let rows = 0
  const take = async (part: Part, wanted: (type: string) => boolean) => {
    for await (const batch of readPart(dir, part, wanted)) {
      const now = Date.now()
      const taking: Taking = { store, readAt: part.started_at, now, oldest: now - retentionMs }
      for (const [some, type] of runs(batch)) {
        outcomes[type] ??= {}
        const byOutcome = outcomes[type]
        for (const outcome of await applyRows(some, taking)) byOutcome[outcome] = (byOutcome[outcome] ?? 0) + 1
        rows += some.length
        onProgress?.({ rows, type })
      }
    }
  }
  // Who was erased while the backup was made must be known before what was read of them earlier.
  for (const part of parts) if (part.rows.erasure) await take(part, (type) => type === 'erasure')
  // An earlier backup may have brought them here. Marks that are known may be of a restore that was interrupted.
  if (parts.some((part) => part.rows.erasure)) await eraseWhatIsErased(store)
  for (const part of parts) await take(part, (type) => type !== 'erasure' && type !== 'usage')
  // Sums come as such: log rows that are brought back were counted in their time.
  for (const part of parts) if (part.rows.usage) await take(part, (type) => type === 'usage')
  return outcomes
}

/** Rows taken in at once. */
const RUN = 64

/** Rows of one type that follow each other. */
function* runs(rows: readonly BackupRow[]): Generator<[BackupRow[], RowType]> {
  let run: BackupRow[] = []
  for (const row of rows) {
    const first = run[0]
    if (first && (first.type !== row.type || run.length === RUN)) {
      yield [run, first.type]
      run = []
    }
    run.push(row)
  }
  if (run[0]) yield [run, run[0].type]
}
