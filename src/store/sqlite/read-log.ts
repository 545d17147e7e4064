import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RecordFilter } from '../store.ts'
import type { Row, SqliteFile } from './file.ts'
import type { Reads } from './log-statements.ts'

/** Rows read at once: the process does nothing else meanwhile. */
const BATCH = 16
/** Of those that have nothing but a time and a number. */
const PLACES = 500
/** Looked into at once. */
const BLOCKS = 64

type Place = [ts: number, seq: number]

/** The rows of a table by their time, some at a time. */
export function readRows<T>(
  file: SqliteFile,
  reads: Reads,
  filter: RecordFilter,
  decode: (row: Row) => T,
): AsyncGenerator<T[]> {
  const { tenant, user } = filter
  if (tenant === undefined || user === undefined) return readAll(file, reads, filter, decode)
  return readOfUser(file, reads, { ...filter, tenant, user }, decode)
}

async function* readAll<T>(
  file: SqliteFile,
  { range, newest }: Reads,
  { tenant, since, until }: RecordFilter,
  decode: (row: Row) => T,
): AsyncGenerator<T[]> {
  let [ts, seq] = [since ?? 0, -1]
  // Not what comes meanwhile: it might come as fast as it is read.
  const end = Number((await file.read(() => newest.get()))?.seq ?? -1)
  for (;;) {
    const rows = await file.read(() => range.all(end, ts, ts, seq, until ?? Number.MAX_SAFE_INTEGER, BATCH))
    const last = rows.at(-1)
    if (!last) return
    ;[ts, seq] = placeOf(last)
    const wanted = tenant === undefined ? rows : rows.filter((row) => row.tenant === tenant)
    if (wanted.length > 0) yield wanted.map(decode)
    await nextTurn()
  }
}

/** Blocks are not in the order of time, not quite: where all rows of the user are comes first. */
async function* readOfUser<T>(
  file: SqliteFile,
  reads: Reads,
  filter: RecordFilter & { tenant: string; user: string },
  decode: (row: Row) => T,
): AsyncGenerator<T[]> {
  const places = (await placesOfUser(file, reads, filter)).sort((a, b) => a[0] - b[0] || a[1] - b[1])
  for (let i = 0; i < places.length; i += BATCH) {
    const rows = await file.read(() =>
      places
        .slice(i, i + BATCH)
        .map(([, seq]) => reads.one.get(seq, filter.tenant, filter.user))
        .filter((row) => row !== undefined),
    )
    if (rows.length > 0) yield rows.map(decode)
    await nextTurn()
  }
}

async function placesOfUser(
  file: SqliteFile,
  { blocks, ofUser }: Reads,
  { tenant, user, since = 0, until = Number.MAX_SAFE_INTEGER }: RecordFilter & { tenant: string; user: string },
): Promise<Place[]> {
  const places: Place[] = []
  const { first, last } = await file.read(() => blocks.get() ?? {})
  let [block, from] = [Number(first ?? 0), [since, -1] as Place]
  while (last !== null && block <= Number(last)) {
    const end = Math.min(Number(last) + 1, block + BLOCKS)
    await file.read(() => {
      for (let found = 0; found < PLACES && block < end; ) {
        const rows = ofUser.all(block, tenant, user, from[0], ...from, until, PLACES)
        for (const row of rows) places.push(placeOf(row))
        found += rows.length
        const more = rows.length === PLACES
        from = more ? (places.at(-1) as Place) : [since, -1]
        if (!more) block++
      }
    })
    await nextTurn()
  }
  return places
}

const placeOf = ({ ts, seq }: Row): Place => [Number(ts), Number(seq)]

/** Rows of two readers in the order of time. */
export async function* inOrder<T extends { ts: number }>(
  first: AsyncGenerator<T[]>,
  second: AsyncGenerator<T[]>,
): AsyncGenerator<T[]> {
  const next = async (reader: AsyncGenerator<T[]>): Promise<T[]> => (await reader.next()).value ?? []
  let [a, b] = [await next(first), await next(second)]
  while (a.length > 0 && b.length > 0) {
    const until = Math.min(a.at(-1)?.ts ?? 0, b.at(-1)?.ts ?? 0)
    const [ofA, ofB] = [a, b].map((rows) => rows.findIndex(({ ts }) => ts > until)).map((i) => (i < 0 ? undefined : i))
    yield [...a.slice(0, ofA), ...b.slice(0, ofB)].sort((x, y) => x.ts - y.ts)
    a = ofA === undefined ? await next(first) : a.slice(ofA)
    b = ofB === undefined ? await next(second) : b.slice(ofB)
  }
  if (a.length > 0) yield a
  if (b.length > 0) yield b
  yield* a.length > 0 ? first : second
}
