import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'

/**
 * Secrets that may lie in a file of their own: `admin.key` in that of `admin.key_file`. `*` is any entry of a list.
 * Providers read the file of their `api_key_file` themselves (providers/api-key.ts).
 */
const SECRETS = [
  'admin.key',
  'console.read_key',
  'identity.secret',
  'identity.jwt.secret',
  'identity.previous_secrets',
  'privacy.secret',
  'privacy.previous_secrets',
  'store.password',
  'store.url',
  'store.sentinel.password',
  'router.embedder.api_key',
  'router.artifact_public_key',
  'tenants.*.keys',
  'webhook.secret',
]

/** One a line. */
const LISTS: ReadonlySet<string> = new Set(['keys', 'previous_secrets'])

export interface ReadSecrets {
  /** The files, to be watched: a mounted secret may be replaced. */
  files: string[]
  problems: string[]
}

/**
 * Reads the secrets that lie in files into their fields of `root`, which is changed. A file of several holds one a
 * line; all others hold one secret.
 *
 * @param configFile paths are relative to it
 */
export function readSecrets(configFile: string, root: Record<string, unknown>): ReadSecrets {
  const read: ReadSecrets = { files: [], problems: [] }
  for (const secret of SECRETS) {
    const fields = secret.split('.')
    const field = fields.pop() as string
    for (const { section, path } of sectionsAt(root, fields)) readSecret(section, field, path)
  }
  return read

  function readSecret(section: Record<string, unknown>, field: string, path: string): void {
    const named = section[`${field}_file`]
    if (typeof named !== 'string') return
    const where = `${path}.${field}`
    const file = resolve(dirname(configFile), named)
    const isList = LISTS.has(field)
    if (section[field] !== undefined && !isList) {
      read.problems.push(`${where}: is given twice, by ${where}_file too`)
      return
    }
    const text = textOf(file)
    if (typeof text !== 'string') read.problems.push(`${where}_file: can't be read: ${text.code}`)
    else if (text === '') read.problems.push(`${where}_file: is empty`)
    else section[field] = isList ? [...asArray(section[field]), ...linesOf(text)] : text
    read.files.push(file)
    // Who reads it again later need not know where the configuration lies.
    section[`${field}_file`] = file
  }
}

function textOf(file: string): string | { code: string } {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    return { code: (error as NodeJS.ErrnoException).code ?? 'unknown error' }
  }
}

const linesOf = (text: string) =>
  text
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))

interface Section {
  section: Record<string, unknown>
  path: string
}

function sectionsAt(root: Record<string, unknown>, fields: readonly string[]): Section[] {
  let found: Section[] = [{ section: root, path: '' }]
  for (const field of fields) {
    found = found.flatMap(({ section, path }) => {
      const entries: [string, unknown][] =
        field === '*' ? Object.entries(section) : Object.hasOwn(section, field) ? [[field, section[field]]] : []
      return entries.flatMap(([name, value]) =>
        typeof value === 'object' && value !== null
          ? [{ section: value as Record<string, unknown>, path: path === '' ? name : `${path}.${name}` }]
          : [],
      )
    })
  }
  return found
}

const asArray = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
