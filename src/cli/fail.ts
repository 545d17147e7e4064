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
  'StoreError',
  'ArtifactError',
  'EmbedderError',
])

/** What an operator is told of an error; null for a mistake of ours, whose stack is needed. */
export function messageFor(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  if (error instanceof ConfigError || PLAIN.has(error.name)) return error.message
  if (!('syscall' in error)) return null
  const { path, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number }
  const where = path ?? (address === undefined ? port : `${address}:${port}`)
  return where === undefined ? `${causeOf(error)}` : `${where}: ${causeOf(error)}`
}
