import { userHash } from '../../runtime/keys.ts'
import { ErasedError } from '../store.ts'
import type { BackupStore } from './contract.ts'
import { type BackupRow, isOpen, type RowOf, type RowType, tenantOf } from './rows.ts'
import { mergedUser } from './user.ts'

/** What became of a row. `kept`: what the store had is as good or newer, and stays; `over`: its time is over. */
export type Outcome = 'restored' | 'kept' | 'erased' | 'over'

/** What a row is taken in with. */
export interface Taking {
  store: BackupStore
  /** When the row was read: of users who were erased since then nothing is taken. */
  readAt: number
  now: number
  /** Log rows that are older have had their time. */
  oldest: number
}

type Work = { [T in RowType]: (row: RowOf<T>, taking: Taking) => Promise<Outcome> }

/** Log rows are taken in many at a time (`applyLog`). */
type LogType = 'interaction' | 'reward'
type Single = Exclude<BackupRow, { type: LogType }>

/**
 * Takes in rows of a backup. Done again, it changes nothing; what the store has learned since stays.
 *
 * @returns what became of each
 * @throws StoreError
 */
export async function applyRows(rows: readonly BackupRow[], taking: Taking): Promise<Outcome[]> {
  const single = rows.filter((row): row is Single => row.type !== 'interaction' && row.type !== 'reward')
  return [
    ...(await Promise.all(single.map((row) => applyRow(row, taking)))),
    ...(await applyLog(
      rows.filter((row) => row.type === 'interaction'),
      (records) => taking.store.backup.appendInteractions(records),
      taking,
    )),
    ...(await applyLog(
      rows.filter((row) => row.type === 'reward'),
      (records) => taking.store.backup.appendRewards(records),
      taking,
    )),
  ]
}

async function applyRow(row: Single, taking: Taking): Promise<Outcome> {
  try {
    if (row.type !== 'erasure' && (await isTenantErased(row, taking))) return 'erased'
    return await (WORK[row.type] as (row: Single, taking: Taking) => Promise<Outcome>)(row, taking)
  } catch (error) {
    if (error instanceof ErasedError) return 'erased'
    throw error
  }
}

/** Asked each time: it may come to that while the restore goes on. */
async function isTenantErased(row: Single, { store, readAt }: Taking): Promise<boolean> {
  const tenant = tenantOf(row)
  return tenant !== null && (await store.backup.erasedAt(tenant, '')) >= readAt
}

type LogRecord = { tenant: string; user: string; ts: number; askedAt?: number }

/** Each is there once, however often it is appended; of erased users none is. Outcomes are in no order. */
async function applyLog<R extends LogRecord>(
  rows: readonly { record: R }[],
  append: (records: R[]) => Promise<number>,
  { oldest, store }: Taking,
): Promise<Outcome[]> {
  const young = rows.map(({ record }) => record).filter(({ ts }) => ts >= oldest)
  const over = Array<Outcome>(rows.length - young.length).fill('over')
  if (young.length === 0) return over
  const added = Array<Outcome>(await append(young)).fill('restored')
  if (added.length === young.length) return [...added, ...over]
  const marks = await Promise.all(young.map(({ tenant, user }) => store.backup.erasedAt(tenant, userHash(user))))
  const erased = young.filter(({ ts, askedAt }, i) => (marks[i] ?? -1) >= (askedAt ?? ts)).map((): Outcome => 'erased')
  const kept = Array<Outcome>(Math.max(0, young.length - added.length - erased.length)).fill('kept')
  return [...added, ...erased, ...kept, ...over]
}

const WORK: Omit<Work, LogType> = {
  async secret({ secret }, { store }) {
    return (await store.sharedSecret(secret)) === secret ? 'restored' : 'kept'
  },

  async erasure({ tenant, erasure }, { store }) {
    const noted = await store.backup.noteErasures(tenant, [erasure])
    return noted.length > 0 ? 'restored' : 'kept'
  },

  async key({ key }, { store, readAt }) {
    const known = await store.findKey(key.hash)
    if (known) {
      if (key.revokedAt === null || known.revokedAt !== null) return 'kept'
      await store.revokeKey(key.id, key.revokedAt)
      return 'restored'
    }
    await store.createKey(key)
    // An erasure that began meanwhile may have passed it by.
    if ((await store.backup.erasedAt(key.tenant, '')) < readAt) return 'restored'
    await store.revokeKey(key.id, Date.now())
    return 'erased'
  },

  async user({ tenant, user, ...row }, { store, readAt }) {
    for (;;) {
      const known = await store.loadUser(tenant, user)
      const before = known && { stored: known, edges: await store.loadEdges(tenant, user) }
      const next = before ? mergedUser(before, row) : row
      if (!next) return 'kept'
      const stored = { ...next.stored, revision: (known?.revision ?? 0) + 1 }
      if (await store.commitUser(tenant, user, stored, next.edges, readAt)) return 'restored'
    }
  },

  async salt({ tenant, user, salt }, { store, readAt }) {
    const known = await store.salt(tenant, user, salt, readAt)
    return known.equals(salt) ? 'restored' : 'kept'
  },

  async conversation({ tenant, id, state, expiresAt }, { store, now }) {
    if (expiresAt <= now) return 'over'
    const known = await store.loadConversation(tenant, id)
    if (known && known.ts >= state.ts) return 'kept'
    await store.saveConversation(tenant, id, state, (expiresAt - now) / 1000)
    return 'restored'
  },

  async response({ tenant, user, response, expiresAt }, { store, now }) {
    if (expiresAt <= now) return 'over'
    const [known] = await store.responses.load(tenant, user, [response.id])
    if (known) return 'kept'
    const options = { ttlMs: expiresAt - now, maxBytes: Number.MAX_SAFE_INTEGER }
    return (await store.responses.save(tenant, user, response, options)) ? 'restored' : 'erased'
  },

  async evidence({ tenant, key, name, sums }, { store }) {
    const known = (await store.loadEvidence(tenant, key)).get(name)
    if (known && sizeOf(known) >= sizeOf(sums)) return 'kept'
    if (known) await store.dropEvidence(tenant, key, [name])
    await store.addEvidence(tenant, key, name, sums)
    return 'restored'
  },

  async refusal({ tenant, refusal }, { store, now }) {
    if (refusal.expiresAt <= now) return 'over'
    await store.noteRefusals(tenant, [refusal])
    return 'restored'
  },

  async mode({ tenant, mode }, { store }) {
    if ((await store.loadMode(tenant)) !== null) return 'kept'
    await store.saveMode(tenant, mode)
    return 'restored'
  },

  async move({ tenant, from, to }, { store }) {
    return store.backup.noteMove(tenant, from, to)
  },

  async budget({ tenant, budget }, { store, now }) {
    if (!isOpen(budget, now)) return 'over'
    const [known] = await store.limits.look(tenant, [{ ...budget, max: 0 }])
    if (known && known.used >= budget.amount) return 'kept'
    await store.limits.restore(tenant, budget, budget.amount)
    return 'restored'
  },

  async usage({ tenant, usage }, { store, readAt }) {
    const { scope, id } = usage
    if (scope === 'user' && (await store.backup.erasedAt(tenant, userHash(id))) >= readAt) return 'erased'
    await store.backup.raiseUsage(tenant, [usage])
    return 'restored'
  },
}

/** How much was said: the last number is a day. */
const sizeOf = (sums: Float32Array): number => sums.subarray(0, -1).reduce((sum, value) => sum + Math.abs(value), 0)
