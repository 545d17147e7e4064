import { readFileSync } from 'node:fs'
import { ConfigError } from '../config/load.ts'
import { causeOf } from '../runtime/error-cause.ts'

/** An operator's mistake, or something that they can mend: the message says it all, a stack would hide it. */
export class CliError extends Error {
  override readonly name = 'CliError'
}

export function fail(message: string): never {
  throw new CliError(message)
}

/** Errors whose message is all that an operator needs, by name: each is thrown for a cause outside of this program. */
const PLAIN = new Set([
  'CliError',
  'ConfigError',
  'PriceFileError',
  'ImportError',
  'BackupError',
  'StoreError',
  'ArchiveError',
  'ArtifactError',
  'EmbedderError',
])

interface SystemError extends NodeJS.ErrnoException {
  address?: string
  port?: number
  hostname?: string
}

/** What an operator is told of an error; null for a mistake of ours, whose stack is needed. */
export function messageFor(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  if (error.name === 'ArtifactError') return `The artifact is refused (router.artifact): ${error.message}`
  if (error instanceof ConfigError || PLAIN.has(error.name)) return error.message
  if (!('syscall' in error)) return null
  const { path, address, port, hostname } = error as SystemError
  const where = path ?? hostname ?? [address, port].filter((part) => part !== undefined).join(':')
  return where === '' ? causeOf(error) : `${where}: ${causeOf(error)}`
}

/** A file that an operator named, as text. @throws Error of the file system, which names it, a folder included */
export function readNamed(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw Object.assign(error as NodeJS.ErrnoException, { path: file })
  }
}
