import { hash, randomBytes, randomUUID } from 'node:crypto'
import type { KeyRecord } from '../store/store.ts'
import type { Scope } from './scopes.ts'

const PREFIX = 'pr-'
const SHOWN_CHARS = 8

/** Hash by which a key is looked up and compared, never in the clear. */
export const hashKey = (key: string): string => hash('sha256', key, 'hex')

export interface NewKey {
  tenant: string
  name: string
  /** Unix milliseconds; null = never. */
  expiresAt: number | null
  models: string[] | null
  /** The user whose key it is; null = requests say. */
  user: string | null
  /** Null = the usual ones. */
  scopes: Scope[] | null
}

/** Makes a tenant key of 256 random bits. The secret is in `secret` alone: the record holds its SHA-256. */
export function makeKey({ tenant, name, expiresAt, models, user, scopes }: NewKey): {
  secret: string
  record: KeyRecord
} {
  const secret = PREFIX + randomBytes(32).toString('base64url')
  const record: KeyRecord = {
    id: randomUUID(),
    tenant,
    name,
    hash: hashKey(secret),
    prefix: secret.slice(0, SHOWN_CHARS),
    createdAt: Date.now(),
    expiresAt,
    revokedAt: null,
    models,
    user,
    scopes,
  }
  return { secret, record }
}
