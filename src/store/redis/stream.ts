import type { RewardDocument, StoredInteraction } from '../records/codec.ts'
import type { RecordFilter } from '../store.ts'
import type { RedisAccess } from './access.ts'

/** A row arrives after its time, unless clocks disagree: by no more than this. */
const SKEW_MS = 3_600_000

type Row = StoredInteraction | RewardDocument
/** What an entry holds: a document or a row, and the row's numbers, where they are beside it. */
export interface KeptRow {
  json: string
  bytes: Buffer
}
/** Makes of what is kept what it is, in the same order; null where it can't be told any more. */
type Read<T> = (kept: KeptRow[]) => Promise<(T | null)[]>
/** In the form of XRANGE. */
type Entry = [id: Buffer, fields: Buffer[]]

const entries = new WeakMap<object, string>()

/** Id of the stream's entry that a row was read from; of what was made of a row, once that was noted. */
export const entryOf = (row: object): string | undefined => entries.get(row)

export function noteEntry<T extends object>(made: T, of: object): T {
  const entry = entries.get(of)
  if (entry !== undefined) entries.set(made, entry)
  return made
}

/** Id of a stream's newest entry; null where there is none. @throws StoreError */
export async function newestIn(redis: RedisAccess, tenant: string, stream: string): Promise<string | null> {
  const [entry] = await redis.askLong(tenant, () => redis.client.xrevrange(stream, '+', '-', 'COUNT', 1))
  return entry?.[0] ?? null
}

export interface StreamPages {
  /** Id of the newest entry; null where there is none. */
  newest: () => Promise<string | null>
  /** Entries in order, from one id on to another. */
  page: (from: string, to: string) => Promise<Entry[]>
}

/**
 * Walks a stream of documents, batch by batch, and yields those in the filter's time. Not what comes meanwhile: it
 * might come as fast as it is read.
 */
export async function* readStream<T extends Row>(
  { newest, page: pageOf }: StreamPages,
  read: Read<T>,
  filter: RecordFilter,
): AsyncGenerator<T[]> {
  const end = await newest()
  if (end === null) return
  let from = String(Math.max(0, (filter.since ?? 0) - SKEW_MS))
  for (;;) {
    const page = await pageOf(from, end)
    const last = page.at(-1)
    if (!last) return
    const rows = await read(page.map(([, fields]) => keptIn(fields)))
    for (const [i, row] of rows.entries()) if (row) entries.set(row, String(page[i]?.[0]))
    yield* wanted(rows, filter)
    from = `(${last[0]}`
  }
}

export interface UserLogPages {
  /** How many entries the user's index has. */
  count: () => Promise<number>
  /** What `read-user-log.lua` returns after so many of them, of at most so many. */
  page: (skip: number, most: number) => Promise<[entries: number, ...kept: Buffer[]]>
}

/** The same, of one user. */
export async function* readUserLog<T extends Row>(
  { count, page }: UserLogPages,
  read: Read<T>,
  filter: RecordFilter,
): AsyncGenerator<T[]> {
  const all = await count()
  for (let skip = 0; skip < all; ) {
    const [entries, ...kept] = await page(skip, all - skip)
    if (entries === 0) return
    const rows: KeptRow[] = []
    for (let i = 0; i < kept.length; i += 2) rows.push({ json: String(kept[i]), bytes: kept[i + 1] as Buffer })
    yield* wanted(await read(rows), filter)
    skip += entries
  }
}

function* wanted<T extends Row>(
  rows: (T | null)[],
  { since = 0, until = Number.POSITIVE_INFINITY }: RecordFilter,
): Generator<T[]> {
  const found = rows.filter((row) => row !== null && row.ts >= since && row.ts <= until) as T[]
  if (found.length > 0) yield found
}

/** By the names that fields have had (`commands/append-interactions.lua`). Names and values take turns. */
export function keptIn(fields: readonly Buffer[]): KeptRow {
  const kept: KeptRow = { json: 'null', bytes: NO_BYTES }
  for (let i = 0; i < fields.length; i += 2) {
    const name = String(fields[i])
    if (NAMES.includes(name)) kept.json = String(fields[i + 1])
    else if (name === 'b') kept.bytes = fields[i + 1] as Buffer
  }
  return kept
}
const NAMES = ['{ }', '{}', 'json']
const NO_BYTES = Buffer.alloc(0)
