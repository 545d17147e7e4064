import { setImmediate as nextTurn } from 'node:timers/promises'
import { inTime } from '../../runtime/in-time.ts'
import { StoreError } from '../store.ts'
import type { Parked } from './parked.ts'
import { lineOf, type Row, readRow } from './row.ts'
import type { Sender } from './sender.ts'
import type { Spool, SpoolPlace } from './spool.ts'

/** So long a tenant's part of the store holds up the others. */
const PATIENCE_MS = 500
/** Read at once of what was delivered. */
const READ_BYTES = 128 * 1024

export interface SendOrParkDeps {
  sender: Sender
  spool: Spool
  parked: Parked<SpoolPlace>
}

export interface Sent {
  /** The store has them. */
  taken: Row[]
  /** Rows that wait for their tenant's part. */
  waiting: number
  /** There was no room for them. */
  lost: number
}

/**
 * Brings rows to a store whose parts may be away one by one. Where a tenant's is, their rows are put aside, and they go
 * on waiting; others' go on.
 *
 * @throws StoreError where nobody's get on
 */
export async function sendOrPark(deps: SendOrParkDeps, rows: readonly Row[]): Promise<Sent> {
  const { parked } = deps
  const all = [...Map.groupBy(rows, ({ record }) => record.tenant)]
  const sent = new Set<string>()
  const isToBeSent = (tenant: string) => !sent.has(tenant) && !parked.has(tenant)
  try {
    // Whoever waited, or began to, while others were sent may wait no more.
    for (let left = all; left.length > 0; left = all.filter(([tenant]) => isToBeSent(tenant))) {
      await park(deps, await send(deps, left, sent))
    }
    // All of them at once: what was put aside in part would be so once more, when the rows come again.
    const theirs = all.filter(([tenant]) => !sent.has(tenant))
    const lines = theirs.map(([tenant, some]) => [tenant, some.map(lineOf)] as const)
    const waiting = parked.add(lines)
    const taken = all.flatMap(([tenant, some]) => (sent.has(tenant) ? some : []))
    return { taken, waiting, lost: rows.length - taken.length - waiting }
  } catch (error) {
    throw new StoreError('The store is away, and the disk refuses', { cause: error })
  }
}

/** Sends the rows of tenants who don't wait. @returns why those of some could not be sent */
async function send(
  { parked, sender }: SendOrParkDeps,
  rows: readonly (readonly [tenant: string, Row[]])[],
  sent: Set<string>,
): Promise<Map<string, StoreError>> {
  const failures = new Map<string, StoreError>()
  await Promise.all(
    rows.map(async ([tenant, theirs]) => {
      if (parked.has(tenant)) return
      const failure = await inTime(failureOf(sender.send(theirs)), PATIENCE_MS, () => new StoreError('no answer yet'))
      if (failure) failures.set(tenant, failure)
      else sent.add(tenant)
    }),
  )
  return failures
}

/** From now on these wait; what the store took of them in the last seconds may be lost with it. */
async function park({ spool, parked }: SendOrParkDeps, failures: ReadonlyMap<string, StoreError>): Promise<void> {
  if (failures.size === 0) return
  const again = new Map<string, string[]>([...failures.keys()].map((tenant) => [tenant, []]))
  const names = [...failures.keys()].map((tenant) => `"tenant":${JSON.stringify(tenant)}`)
  // What lies before is in their file, from when they waited last.
  const since = new Map([...failures.keys()].map((tenant) => [tenant, parked.since(tenant)]))
  const places = [...since.values()].filter((place) => place !== null)
  for (const { lines, isBehind } of spool.delivered(READ_BYTES, places)) {
    for (const line of lines) {
      if (!names.some((name) => line.includes(name))) continue
      const tenant = readRow(line)?.record.tenant ?? ''
      const place = since.get(tenant)
      if (!place || isBehind(place)) again.get(tenant)?.push(line)
    }
    await nextTurn()
  }
  for (const [tenant, error] of failures) parked.begin(tenant, again.get(tenant) ?? [], error)
}

/** @throws what is no fault of the store's */
async function failureOf(work: Promise<void>): Promise<StoreError | null> {
  try {
    await work
    return null
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
}
