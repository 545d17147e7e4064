/**
 * A tenant's user, or another thing of a tenant's, as one key of a map or of a hash: neither part holds a zero byte, so
 * that no two are taken for each other.
 */
export const userKey = (tenant: string, user: string) => `${tenant}\0${user}`
