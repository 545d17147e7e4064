import { hash } from 'node:crypto'

/**
 * A tenant's user, or another thing of a tenant's, as one key of a map or of a hash: neither part holds a zero byte, so
 * that no two are taken for each other.
 */
export const userKey = (tenant: string, user: string) => `${tenant}\0${user}`

/** By which a user is told from others where their id must not stand. */
export const userHash = (user: string) => hash('sha256', user, 'base64url')
