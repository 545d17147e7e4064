import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { hashKey } from '../candidates/keys.ts'
import type { Config } from '../config/schema.ts'

/** `operator`: all that the admin key may do. `reader`: looks, and changes nothing. */
export type Role = 'operator' | 'reader'

export interface Session {
  role: Role
  /** Unix milliseconds. */
  expiresAt: number
}

type Keys = Pick<Config, 'admin' | 'console'>

const ROLES: readonly Role[] = ['operator', 'reader']
const TOKEN = /^(operator|reader)\.(\d{13})\.([\w-]{16})\.([\w-]{43})$/

/** The role whose key this is; null for none. */
export function roleOf(given: string, keys: Keys): Role | null {
  return ROLES.find((role) => isSame(given, keyOf(role, keys))) ?? null
}

/**
 * A session that every replica with the same keys knows: role, end and a nonce, with their HMAC-SHA-256 under the key
 * that opened it. Another key in the configuration ends all sessions of the old one.
 */
export function sessionToken(role: Role, keys: Keys, now: number): string {
  const body = `${role}.${now + keys.console.session_minutes * 60_000}.${randomBytes(12).toString('base64url')}`
  return `${body}.${signature(body, keyOf(role, keys) ?? '')}`
}

/** Null where it was forged, has expired, or was opened with a key that is no longer one. */
export function readSession(token: string | undefined, keys: Keys, now: number): Session | null {
  const [, role, end, nonce, signed = ''] = TOKEN.exec(token ?? '') ?? []
  const key = role === undefined ? undefined : keyOf(role as Role, keys)
  if (key === undefined) return null
  const expected = Buffer.from(signature(`${role}.${end}.${nonce}`, key))
  if (!timingSafeEqual(expected, Buffer.from(signed)) || Number(end) <= now) return null
  return { role: role as Role, expiresAt: Number(end) }
}

const keyOf = (role: Role, { admin, console }: Keys) => (role === 'operator' ? admin.key : console.read_key)

const signature = (body: string, key: string) =>
  createHmac('sha256', `console\0${hashKey(key)}`)
    .update(body)
    .digest('base64url')

const isSame = (given: string, expected: string | undefined) =>
  expected !== undefined && timingSafeEqual(Buffer.from(hashKey(given)), Buffer.from(hashKey(expected)))
