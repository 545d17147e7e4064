import type { RewardDocument, StoredInteraction } from '../records/codec.ts'
import type { RecordFilter } from '../store.ts'

/** A row arrives after its time, unless clocks disagree: by no more than this. */
const SKEW_MS = 3_600_000

type Row = StoredInteraction | RewardDocument

/**
 * Walks a stream of documents, batch by batch, and yields those in the filter's time.
 *
 * @param read entries from this id on, in the form of XRANGE
 */
export async function* readStream<T extends Row>(
  read: (from: string) => Promise<[id: string, fields: string[]][]>,
  filter: RecordFilter,
): AsyncGenerator<T[]> {
  let from = String(Math.max(0, (filter.since ?? 0) - SKEW_MS))
  for (;;) {
    const entries = await read(from)
    const last = entries.at(-1)
    if (!last) return
    yield* wanted<T>(
      entries.map(([, fields]) => jsonOf(fields)),
      filter,
    )
    from = `(${last[0]}`
  }
}

/**
 * The same, of one user.
 *
 * @param read what `read-user-log.lua` returns after so many index entries
 */
export async function* readUserLog<T extends Row>(
  read: (skip: number) => Promise<[entries: number, ...documents: Buffer[]]>,
  filter: RecordFilter,
): AsyncGenerator<T[]> {
  for (let skip = 0; ; ) {
    const [entries, ...documents] = await read(skip)
    if (entries === 0) return
    yield* wanted<T>(documents.map(String), filter)
    skip += entries
  }
}

function* wanted<T extends Row>(json: string[], { since, until }: RecordFilter): Generator<T[]> {
  const rows = json
    .map((document): T => JSON.parse(document))
    .filter(({ ts }) => ts >= (since ?? 0) && ts <= (until ?? Number.POSITIVE_INFINITY))
  if (rows.length > 0) yield rows
}

/** Names and values take turns. */
export const jsonOf = (fields: string[]) =>
  fields[fields.findIndex((name, i) => i % 2 === 0 && name === 'json') + 1] ?? 'null'
