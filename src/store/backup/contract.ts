import type { InteractionRecord, RewardRecord } from '../records/codec.ts'
import type { Store } from '../store.ts'
import type { UsageRow } from '../usage.ts'
import type { BackupRow, Erasure } from './rows.ts'

/** Some rows, and from where to go on after them; null where that is no place to go on from. */
export interface Page {
  rows: BackupRow[]
  next: string | null
}

/**
 * What a backup needs of a store beyond what gateways ask of it. Methods reject with `StoreError`.
 *
 * Rows come in an order in which traffic that goes on tears nothing apart: a rating before its answer, an answer before
 * the sums that count it, a user with their edges, and at last what takes back what came before: revocations and
 * erasures.
 */
export interface Backup {
  /** All rows of all tenants. @param from where another call ended (`Page.next`); '' begins */
  read(from: string): AsyncIterable<Page>
  /** Which secret user ids are kept under, by its fingerprint; null where no gateway has said so. */
  fingerprint(): Promise<string | null>
  /** When a user (by a hash), or their tenant, was erased; of '' the tenant. -1: not that is remembered. */
  erasedAt(tenant: string, userHash: string): Promise<number>
  /**
   * Remembers that users, or a tenant, were erased: what is older of them is no longer taken. The later time counts.
   * Returns what was not known. What is there already stays there.
   */
  noteErasures(tenant: string, erasures: readonly Erasure[]): Promise<Erasure[]>
  /**
   * Remembers that a user has got another id, but of who was erased. What is kept of them stays where it is, and who
   * has moved on since stays there.
   */
  noteMove(tenant: string, from: string, to: string): Promise<'restored' | 'kept' | 'erased'>
  /** As `Store.appendInteractions`, but what they used isn't counted (`raiseUsage` does). Returns how many are new. */
  appendInteractions(rows: InteractionRecord[]): Promise<number>
  /** As `Store.appendRewards`. Returns how many are new. */
  appendRewards(rows: RewardRecord[]): Promise<number>
  /** Raises sums to these; what is more stays. */
  raiseUsage(tenant: string, rows: readonly UsageRow[]): Promise<void>
}

export interface BackupStore extends Store {
  readonly backup: Backup
}
