import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * The secret under which user ids are kept: the configured one, else one that is made on the first start and kept in a file, readable by its
 * owner alone. Replicas must share it, or the same user is another one on each.
 */
export function identitySecret(configured: string | undefined, file: string): string {
  if (configured !== undefined) return configured
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  mkdirSync(dirname(file), { recursive: true })
  try {
    // 'wx': of two processes that start at once, one writes and the other reads.
    writeFileSync(file, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(file, 'utf8').trim()
}
