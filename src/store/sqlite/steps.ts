import { restAfter, StepSize } from '../../runtime/rest.ts'
import type { SqliteFile } from './file.ts'

/** Rows a step: SQLite blocks the process meanwhile, mostly after less (`StepSize`). */
const MOST_ROWS = 500

/**
 * Writes a lot in steps, with rests, so that others hardly notice.
 *
 * @param work writes at most so many rows in a transaction, after so many before; returns how many, fewer where nothing
 * is left
 * @param options `write`: `writeUrgently` where a full disk must not be in the way; `perWork` as `restAfter`
 * @returns rows of all steps
 */
export async function inSteps(
  file: SqliteFile,
  work: (rows: number, before: number) => number,
  { write = (one) => file.write(one), perWork }: { write?: SqliteFile['write']; perWork?: number } = {},
): Promise<number> {
  const size = new StepSize(MOST_ROWS)
  for (let before = 0; ; ) {
    const { rows } = size
    const went = await write(() => [work(rows, before)])
    const { lastMs } = file
    before += went
    if (went < rows) return before
    size.took(lastMs)
    await restAfter(lastMs, perWork)
  }
}
