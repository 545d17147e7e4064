import type { RecordFilter } from './store.ts'

/** A row arrives after its time, unless clocks disagree: by no more than this. */
const SKEW_MS = 3_600_000

/**
 * Walks a stream of documents, batch by batch, and yields those in the filter's time, of its user.
 *
 * @param read entries from this id on, in the form of XRANGE
 */
export async function* readStream(
  read: (from: string) => Promise<[id: string, fields: string[]][]>,
  { user, since = 0, until = Number.POSITIVE_INFINITY }: RecordFilter,
) {
  let from = String(Math.max(0, since - SKEW_MS))
  for (;;) {
    const entries = await read(from)
    const last = entries.at(-1)
    if (!last) return
    const rows = entries
      .map(([, fields]) => ({ document: JSON.parse(jsonOf(fields)) }))
      .filter(
        ({ document }) =>
          document.ts >= since && document.ts <= until && (user === undefined || document.user === user),
      )
    if (rows.length > 0) yield rows
    from = `(${last[0]}`
  }
}

/** Names and values take turns. */
const jsonOf = (fields: string[]) => fields[fields.findIndex((name, i) => i % 2 === 0 && name === 'json') + 1] ?? 'null'
