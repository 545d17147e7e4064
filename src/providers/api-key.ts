import { secretFile } from '../runtime/secret-file.ts'

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
  const read = secretFile(file)
  return {
    read,
    get missing() {
      return read() === undefined ? 'its api_key_file is missing or empty' : null
    },
  }
}
