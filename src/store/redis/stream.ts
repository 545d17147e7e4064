import { type RewardDocument, type StoredInteraction, storedInteraction } from '../records/codec.ts'
import type { RecordFilter } from '../store.ts'

/** A row arrives after its time, unless clocks disagree: by no more than this. */
const SKEW_MS = 3_600_000

type Row = StoredInteraction | RewardDocument

const entries = new WeakMap<object, string>()

/** Id of the stream's entry that a row was read from; of what was made of a row, once that was noted. */
export const entryOf = (row: object): string | undefined => entries.get(row)

export function noteEntry<T extends object>(made: T, of: object): T {
  const entry = entries.get(of)
  if (entry !== undefined) entries.set(made, entry)
  return made
}

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
    const page = await read(from)
    const last = page.at(-1)
    if (!last) return
    yield* wanted<T>(
      page.map(([id, fields]) => [jsonOf(fields), id]),
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
    yield* wanted<T>(
      documents.map((document) => [String(document)]),
      filter,
    )
    skip += entries
  }
}

function* wanted<T extends Row>(found: [json: string, entry?: string][], filter: RecordFilter): Generator<T[]> {
  const { since, until } = filter
  const rows = found
    .map(([json, entry]): T => {
      const row = storedInteraction(json) as T
      if (entry !== undefined) entries.set(row, entry)
      return row
    })
    .filter(({ ts }) => ts >= (since ?? 0) && ts <= (until ?? Number.POSITIVE_INFINITY))
  if (rows.length > 0) yield rows
}

/** A document, or a row (`commands/append-interactions.lua`). Names and values take turns. */
export const jsonOf = (fields: string[]) =>
  fields[fields.findIndex((name, i) => i % 2 === 0 && (name === 'json' || name === '{}')) + 1] ?? 'null'
