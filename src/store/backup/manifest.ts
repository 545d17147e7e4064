import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { makeFolder } from '../../runtime/make-folder.ts'
import { ROW_TYPES } from './rows.ts'

/** A directory that is no backup, or none that can be used so. The message is for an operator. */
export class BackupError extends Error {
  override readonly name = 'BackupError'
}

const FORMAT = 'persona-router-backup/1'
const FILE = 'manifest.json'

const partSchema = z.object({
  file: z.string().regex(/^part-\d+\.jsonl\.zst$/),
  bytes: z.number().int().nonnegative(),
  /** Of the file, hex. */
  sha256: z.string(),
  /** When its first row began to be read, Unix milliseconds: who was erased since then is not in it, or must go. */
  started_at: z.number().int(),
  rows: z.partialRecord(z.enum(ROW_TYPES), z.number().int()),
})
export type Part = z.output<typeof partSchema>

const manifestSchema = z.object({
  format: z.literal(FORMAT),
  store: z.enum(['sqlite', 'redis']),
  started_at: z.number().int(),
  /** Null: it was interrupted, or goes on. */
  finished_at: z.number().int().nullable(),
  /** Of the secret of user ids (`secretFingerprint`); null: not known. */
  fingerprint: z.string().nullable(),
  /** The secret that user ids are kept under is among the rows: the gateway made it for itself. */
  has_secret: z.boolean(),
  /** User ids are among the rows that are kept under that secret. */
  has_hashed_ids: z.boolean(),
  /** Names of all that something is kept of. */
  tenants: z.array(z.string()),
  /** Where to go on. */
  next: z.string(),
  parts: z.array(partSchema),
})
export type Manifest = z.output<typeof manifestSchema>

/** Null where there is none. @throws BackupError */
export function readManifest(dir: string): Manifest | null {
  if (!existsSync(join(dir, FILE))) return null
  const text = readFileSync(join(dir, FILE), 'utf8')
  try {
    return manifestSchema.parse(JSON.parse(text))
  } catch {
    throw new BackupError(`${join(dir, FILE)} is not the manifest of a backup that this version reads (${FORMAT}).`)
  }
}

/** @throws BackupError where there is no backup, or it was not finished */
export function readWhole(dir: string): Manifest & { finished_at: number } {
  const manifest = readManifest(dir)
  if (!manifest) throw new BackupError(`${dir} holds no backup.`)
  const { finished_at } = manifest
  if (finished_at === null) {
    throw new BackupError(`The backup in ${dir} was not finished: persona-router backup --to ${dir} goes on with it.`)
  }
  return { ...manifest, finished_at }
}

/**
 * The backup that goes on there, or a new one. What an interrupted one left beyond its manifest goes.
 *
 * @throws BackupError where it is of another store, whole already, or the directory holds something else
 */
export function openManifest(dir: string, source: Pick<Manifest, 'store' | 'fingerprint' | 'has_secret'>): Manifest {
  makeFolder(dir, 0o700)
  const known = readManifest(dir)
  if (!known) {
    const other = readdirSync(dir).find((name) => !name.endsWith('.new'))
    if (other !== undefined)
      throw new BackupError(`${dir} holds something else: ${other}. Name a directory of its own.`)
    const started_at = Date.now()
    return {
      format: FORMAT,
      ...source,
      started_at,
      finished_at: null,
      has_hashed_ids: false,
      tenants: [],
      next: '',
      parts: [],
    }
  }
  if (known.finished_at !== null) throw new BackupError(`${dir} holds a whole backup already: name another directory.`)
  if (known.store !== source.store || (known.fingerprint !== null && known.fingerprint !== source.fingerprint)) {
    throw new BackupError(`The backup that was begun in ${dir} is of another store: name another directory.`)
  }
  const files = new Set([FILE, ...known.parts.map(({ file }) => file)])
  for (const name of readdirSync(dir)) if (!files.has(name)) rmSync(join(dir, name))
  return known
}

/** Replaces it at once: whoever reads it finds the old one or the new one. */
export function writeManifest(dir: string, manifest: Manifest): void {
  const file = join(dir, FILE)
  const fd = openSync(`${file}.new`, 'w', 0o600)
  writeSync(fd, `${JSON.stringify(manifest)}\n`)
  fsyncSync(fd)
  closeSync(fd)
  renameSync(`${file}.new`, file)
}

/** Rows by type, of all parts. */
export function rowsOf({ parts }: Pick<Manifest, 'parts'>): Part['rows'] {
  const sum: Part['rows'] = {}
  for (const { rows } of parts) for (const type of ROW_TYPES) if (rows[type]) sum[type] = (sum[type] ?? 0) + rows[type]
  return sum
}
