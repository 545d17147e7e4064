import type { InteractionRecord, RewardRecord } from '../records/codec.ts'
import type { Store } from '../store.ts'
import { dayOf } from '../usage.ts'
import type { Archive, Partition } from './archive.ts'
import { identityOf, type Kind, type Row } from './columns.ts'

const ROWS = 10_000
/** Rows of many tenants come mixed: with less in memory each of them would get many small files. */
const HELD_FILES = 5

export interface MoveOptions {
  /** Unix milliseconds: rows before it are moved. */
  before: number
  tenant?: string
  /** In a file, and at most a batch of the store more; five times as many in memory. */
  rows?: number
  /** Called now and then with how many rows have been moved. */
  onProgress?: (moved: Moved) => void
}

export interface Moved {
  interactions: number
  rewards: number
}

/**
 * Moves old rows of the log into an archive: each is taken out of the store once the file that holds it is on the disk
 * and was read back. A run that was killed is followed by another one, which finds in the archive what the store still
 * has, and only takes it out there.
 *
 * @throws ArchiveError, StoreError: what was moved stays so
 */
export async function moveRows(store: Store, archive: Archive, options: MoveOptions): Promise<Moved> {
  const moved: Moved = { interactions: 0, rewards: 0 }
  const { before, tenant, rows: most = ROWS, onProgress } = options
  const filter = { until: before - 1, ...(tenant !== undefined && { tenant }) }
  await moveKind(archive, 'interaction', most, store.readInteractions(filter), async (rows) => {
    await store.dropInteractions(rows)
    moved.interactions += rows.length
    onProgress?.(moved)
  })
  await moveKind(archive, 'reward', most, store.readRewards(filter), async (rows) => {
    await store.dropRewards(rows)
    moved.rewards += rows.length
    onProgress?.(moved)
  })
  return moved
}

async function moveKind<K extends Kind>(
  archive: Archive,
  kind: K,
  most: number,
  batches: AsyncIterable<Row<K>[]>,
  drop: (rows: Row<K>[]) => Promise<void>,
): Promise<void> {
  const waiting = new Map<string, Waiting<K>>()
  /** Files of this run: the store has nothing of them any more. */
  const own = new Set<string>()
  let count = 0
  /** Of the file before: the store rests between its slices, and the next file is made meanwhile. */
  let dropping = Promise.resolve()
  const flush = async (key: string, { partition, rows }: Waiting<K>) => {
    waiting.delete(key)
    count -= rows.length
    const path = await addOnce(archive, kind, partition, rows, own)
    if (path !== null) own.add(path)
    await dropping
    dropping = drop(rows)
    // Heard of by whoever awaits it.
    dropping.catch(() => undefined)
  }
  /** The largest first: so files are as large as they can be. */
  const flushDownTo = async (least: number) => {
    const bySize = [...waiting].sort(([, { rows: a }], [, { rows: b }]) => b.length - a.length)
    for (const [key, some] of bySize) if (count > least) await flush(key, some)
  }
  try {
    for await (const batch of batches) {
      for (const row of batch) {
        const partition = { tenant: row.tenant, day: dayOf(row.ts) }
        const key = `${partition.tenant}\n${partition.day}`
        const known = waiting.get(key)
        if (known) known.rows.push(row)
        else waiting.set(key, { partition, rows: [row] })
        count++
      }
      for (const [key, some] of waiting) if (some.rows.length >= most) await flush(key, some)
      if (count >= HELD_FILES * most) await flushDownTo((HELD_FILES * most) / 2)
    }
    await flushDownTo(0)
  } finally {
    await dropping
  }
}

interface Waiting<K extends Kind> {
  partition: Partition
  rows: Row<K>[]
}

/** What a run that was killed had archived is not archived again; nor is what came late a second time. */
async function addOnce<K extends Kind>(
  archive: Archive,
  kind: K,
  partition: Partition,
  rows: readonly Row<K>[],
  own: ReadonlySet<string>,
): Promise<string | null> {
  const identities = rows.map((row) => identityOf(kind, row as unknown as Record<string, unknown>))
  const known = await archive.known(kind, partition, new Set(identities), own)
  const fresh = rows.filter((_, i) => !known.has(identities[i] as string))
  return fresh.length > 0 ? archive.add(kind, partition, fresh) : null
}

/** The log as it was before rows were moved: those of the archive, then those of the store. */
export function withArchive(store: Store, archive: Archive): Pick<Store, 'readInteractions' | 'readRewards'> {
  return {
    readInteractions: (filter) => both(archive, 'interaction', filter, store.readInteractions(filter)),
    readRewards: (filter) => both(archive, 'reward', filter, store.readRewards(filter)),
  }
}

/** Rows that a killed run has left in the store are in the archive, too: they come once. */
async function* both<K extends Kind>(
  archive: Archive,
  kind: K,
  filter: Parameters<Archive['read']>[1],
  stored: AsyncIterable<(InteractionRecord | RewardRecord)[]>,
): AsyncGenerator<Row<K>[]> {
  yield* archive.read(kind, filter)
  for await (const batch of stored) {
    const rows = batch as Row<K>[]
    const known = new Set<Row<K>>()
    for (const [key, some] of Map.groupBy(rows, ({ tenant, ts }) => `${tenant}\n${dayOf(ts)}`)) {
      const [tenant = '', day = ''] = key.split('\n')
      const names = new Map(some.map((row) => [identityOf(kind, row as unknown as Record<string, unknown>), row]))
      for (const name of await archive.known(kind, { tenant, day }, new Set(names.keys()))) {
        const row = names.get(name)
        if (row) known.add(row)
      }
    }
    const fresh = rows.filter((row) => !known.has(row))
    if (fresh.length > 0) yield fresh
  }
}
