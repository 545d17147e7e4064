import { readFileSync, statSync } from 'node:fs'

/** Milliseconds between two looks at the file: a `stat` costs more than the rest of reading a key. */
const CHECK_EVERY_MS = 1_000

const MAX_KEY_BYTES = 64 * 1024

export interface ApiKey {
  /** The key as of now; undefined where there is none. */
  read(): string | undefined
  /** Why there is none, or null. */
  readonly missing: string | null
}

/** A provider's key: from the configuration, or from a file that is read again when it changes (a mounted secret). */
export function apiKey(
  config: { api_key?: string | undefined; api_key_file?: string | undefined },
  what: string,
): ApiKey {
  const { api_key: inline, api_key_file: file } = config
  if (inline !== undefined && inline !== '') return { read: () => inline, missing: null }
  if (file === undefined) return { read: () => undefined, missing: `${what} is not set` }
  return keyFile(file)
}

function keyFile(file: string): ApiKey {
  let key: string | undefined
  let version = ''
  let checkedAt = Number.NEGATIVE_INFINITY
  const read = () => {
    const now = performance.now()
    if (now - checkedAt < CHECK_EVERY_MS) return key
    checkedAt = now
    try {
      const stats = statSync(file)
      const current = `${stats.mtimeMs}:${stats.ino}:${stats.size}`
      // A pipe would block the process, a device would never end.
      if (current !== version && stats.isFile() && stats.size <= MAX_KEY_BYTES) {
        key = readFileSync(file, 'utf8').trim() || undefined
        version = current
      }
    } catch {
      // While a secret is being replaced it may be gone for a moment: the last key stays.
    }
    return key
  }
  return {
    read,
    get missing() {
      return read() === undefined ? 'its api_key_file is missing or empty' : null
    },
  }
}
