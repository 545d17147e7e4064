import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Of `scripts/build.mjs`, in the repository or the package. */
export const DIST = 'dist'
export const ENTRY = 'cli.js'

/**
 * What the command line runs: the bundle, where there is one and nothing that it was made of is newer; else the
 * sources, which run as they are.
 *
 * @param {string} root the repository
 */
export const findEntry = (root) => (isBundled(root) ? join(root, DIST, ENTRY) : join(root, 'src', 'cli', 'cli.ts'))

/**
 * Whether there is a bundle of the sources as they are now, by the times of all files, as `make` has it.
 *
 * @param {string} root the repository
 */
export function isBundled(root) {
  const made = changedAt(join(root, DIST, ENTRY))
  if (made === 0) return false
  const source = join(root, 'src')
  // Folders, too: they change when a file goes.
  const of = readdirSync(source, { recursive: true, encoding: 'utf8' }).map((name) => join(source, name))
  return ![source, ...of, join(root, 'package-lock.json')].some((path) => changedAt(path) > made)
}

/** @param {string} path */
const changedAt = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
