import { hash } from 'node:crypto'

/**
 * A tenant's user, or another thing of a tenant's, as one key of a map or of a hash: neither part holds a zero byte, so
 * that no two are taken for each other.
 */
export const userKey = (tenant: string, user: string) => `${tenant}\0${user}`

/** By which a user is told from others where their id must not stand. */
export function userHash(user: string): string {
  let found = known.get(user)
  if (found === undefined) {
    found = hash('sha256', user, 'base64url')
    if (user.length <= MOST_CHARS) {
      if (known.size >= MOST_KNOWN) known.clear()
      known.set(user, found)
    }
  }
  return found
}

/** Of those who ask now: several parts of one request need it. Ids of a usual length, 200 bytes each. */
const known = new Map<string, string>()
const MOST_KNOWN = 4_096
const MOST_CHARS = 128
