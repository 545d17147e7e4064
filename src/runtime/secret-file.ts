import { readFileSync, statSync } from 'node:fs'

/** Milliseconds between two looks at the file: a `stat` costs more than the rest of reading a secret. */
const CHECK_EVERY_MS = 1_000

const MAX_BYTES = 64 * 1024

/** A secret in a file, read again when that is replaced; undefined where there is none. */
export function secretFile(file: string): () => string | undefined {
  let secret: string | undefined
  let version = ''
  let checkedAt = Number.NEGATIVE_INFINITY
  return () => {
    const now = performance.now()
    if (now - checkedAt < CHECK_EVERY_MS) return secret
    checkedAt = now
    try {
      const stats = statSync(file)
      const current = `${stats.mtimeMs}:${stats.ino}:${stats.size}`
      // A pipe would block the process, a device would never end.
      if (current !== version && stats.isFile() && stats.size <= MAX_BYTES) {
        secret = readFileSync(file, 'utf8').trim() || undefined
        version = current
      }
    } catch {
      // While a secret is being replaced it may be gone for a moment: the last one stays.
    }
    return secret
  }
}
