import { hash } from 'node:crypto'
import { z } from 'zod'
import { base64Of, floatBytes, floatsOf, int8FromBase64 } from '../bytes.ts'
import { type Limit, windowAt } from '../limits.ts'
import {
  type InteractionRecord,
  interactionLine,
  interactionSchema,
  type RewardRecord,
  readInteraction,
  readReward,
  rewardLine,
  rewardSchema,
} from '../records/codec.ts'
import type { StoredResponse } from '../responses.ts'
import type { ConversationState, KeyRecord, Move, StoredEdge, StoredRefusal, StoredUser } from '../store.ts'
import type { UsageRow } from '../usage.ts'

/** When a user was erased, by a hash of their id ('': the tenant), Unix milliseconds. */
export interface Erasure {
  userHash: string
  at: number
}

/** What was spent of a budget in a day or month that is not over. */
export interface Budget extends Pick<Limit, 'scope' | 'what'> {
  window: 'day' | 'month'
  /** When the window began, Unix milliseconds. */
  start: number
  amount: number
}

/** What a store keeps, whichever it is. */
export type BackupRow =
  | { type: 'secret'; secret: string }
  | { type: 'usage'; tenant: string; usage: UsageRow }
  | { type: 'reward'; record: RewardRecord }
  | { type: 'interaction'; record: InteractionRecord }
  | { type: 'evidence'; tenant: string; key: string; name: string; sums: Float32Array }
  | { type: 'user'; tenant: string; user: string; stored: StoredUser; edges: StoredEdge[] }
  | { type: 'salt'; tenant: string; user: string; salt: Buffer }
  | { type: 'conversation'; tenant: string; id: string; state: ConversationState; expiresAt: number }
  | { type: 'response'; tenant: string; user: string; response: StoredResponse; expiresAt: number }
  | { type: 'refusal'; tenant: string; refusal: StoredRefusal }
  | { type: 'mode'; tenant: string; mode: string }
  | { type: 'budget'; tenant: string; budget: Budget }
  | { type: 'key'; key: KeyRecord }
  | ({ type: 'move' } & Move)
  | { type: 'erasure'; tenant: string; erasure: Erasure }

export type RowOf<T extends BackupRow['type']> = Extract<BackupRow, { type: T }>

/** Whose it is; null: everybody's. */
export function tenantOf(row: BackupRow): string | null {
  if (row.type === 'interaction' || row.type === 'reward') return row.record.tenant
  if (row.type === 'key') return row.key.tenant
  return row.type === 'secret' ? null : row.tenant
}

/** In the order in which they are told of. */
export const ROW_TYPES = [
  'key',
  'user',
  'salt',
  'interaction',
  'reward',
  'conversation',
  'response',
  'evidence',
  'refusal',
  'mode',
  'usage',
  'budget',
  'move',
  'erasure',
  'secret',
] as const satisfies readonly BackupRow['type'][]
export type RowType = (typeof ROW_TYPES)[number]

/** One line: JSON, numbers of vectors and bytes in base64. */
export function encodeRow(row: BackupRow): string {
  if (row.type === 'interaction') return interactionLine(row.record)
  if (row.type === 'reward') return rewardLine(row.record)
  return JSON.stringify(row, packed)
}

function packed(this: Record<string, unknown>, name: string, value: unknown): unknown {
  // Buffers are turned into something else before they get here.
  const own = this[name]
  if (own instanceof Float32Array) return { $floats: floatBytes(own).toString('base64') }
  if (own instanceof Int8Array) return { $int8: base64Of(own) }
  if (own instanceof Uint8Array) return { $bytes: Buffer.from(own).toString('base64') }
  return value
}

/** @throws Error where it is no row */
export function decodeRow(line: string): BackupRow {
  const { type, ...document } = envelope.parse(JSON.parse(line))
  if (type === 'interaction') return { type, record: readInteraction(interactionSchema.parse(document)) }
  if (type === 'reward') return { type, record: readReward(rewardSchema.parse(document)) }
  return JSON.parse(line, (_, value) => unpacked(value)) as BackupRow
}

const envelope = z.looseObject({ type: z.enum(ROW_TYPES) })

function unpacked(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if ('$floats' in value) return floatsOf(Buffer.from(String(value.$floats), 'base64'))
  if ('$int8' in value) return int8FromBase64(String(value.$int8))
  if ('$bytes' in value) return Buffer.from(String(value.$bytes), 'base64')
  return value
}

/** A number that is the same for what is the same in two stores, in 64 bits; null for what is not compared. */
export function fingerprintOfRow(row: BackupRow): bigint | null {
  const text = comparable(row)
  return text === null ? null : hash('sha256', text, 'buffer').readBigUInt64LE()
}

/** The same for what two stores have under one name, whatever it says there; null for what does not change. */
export function fingerprintOfName(row: BackupRow): bigint | null {
  const name = nameOf(row)
  return name === null ? null : hash('sha256', JSON.stringify(name), 'buffer').readBigUInt64LE()
}

function nameOf(row: BackupRow): string[] | null {
  switch (row.type) {
    case 'secret':
      return []
    case 'key':
      return [row.key.id]
    case 'mode':
      return [row.tenant]
    case 'user':
      return [row.tenant, row.user]
    case 'move':
      return [row.tenant, row.from]
    case 'conversation':
      return [row.tenant, row.id]
    case 'evidence':
      return [row.tenant, row.key, row.name]
    case 'response':
      return [row.tenant, row.user, row.response.id]
    case 'refusal':
      return [row.tenant, row.refusal.deployment, row.refusal.field]
    case 'usage':
      return [row.tenant, row.usage.day, row.usage.scope, row.usage.id, row.usage.model]
    default:
      return null
  }
}

/**
 * What is the same in two stores, as text. How often a user was written, and until when something is kept from now on,
 * may differ. Null for what is not compared: it changes by itself.
 */
export function comparable(row: BackupRow): string | null {
  if (row.type === 'budget' || row.type === 'erasure') return null
  if (row.type === 'interaction' || row.type === 'reward') return encodeRow(row)
  if (row.type === 'user') return inOrder({ ...row, stored: { ...row.stored, revision: 0 } })
  if (row.type === 'conversation' || row.type === 'response') return inOrder({ ...row, expiresAt: 0 })
  return inOrder(row)
}

/** Fields by their names. */
const inOrder = (row: BackupRow): string =>
  JSON.stringify(row, function (this: Record<string, unknown>, name, value) {
    const known = packed.call(this, name, value)
    if (known !== value || typeof value !== 'object' || value === null || Array.isArray(value)) return known
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
  })

const BUDGET = /^((?:tenant|key|user)\b.*):(requests|tokens|nanoUsd):(day|month):(\d+)$/s

/** A counter of a limit, by its name in a store; null where its window is none that matters tomorrow, or is over. */
export function budgetOf(counter: string, amount: number, now: number): Budget | null {
  const [, scope = '', what, window, at] = BUDGET.exec(counter) ?? []
  if (what === undefined || !(amount > 0)) return null
  const budget = { scope, what, window, start: Number(at), amount } as Budget
  return isOpen(budget, now) ? budget : null
}

/** Its day or month is not over. */
export const isOpen = ({ window, start }: Budget, now: number): boolean => windowAt(window, now).start === start
