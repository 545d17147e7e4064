import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'

/** Of `scripts/build.mjs`, in the repository or the package. */
export const DIST = 'dist'
export const ENTRY = 'cli.js'
/** In `DIST`: the bundle's folder there, and what it was made of. */
export const MADE = 'bundle.json'

/**
 * A file as it was when the bundle was made of it. Its time spares reading it: where it differs (a checkout, a package
 * that was unpacked, an image), what the file says decides.
 *
 * @typedef {{ size: number, time: number, sha256: string }} Source
 * @typedef {{ folder: string, sources: Record<string, Source>, tools: Record<string, Source> }} Made
 *   `sources` by path in the repository; `tools` (the bundler's script, bundled packages) may be absent, as in the
 *   package
 */

/**
 * What the command line runs: the bundle, where there is one of the sources as they are; else these, which run, too.
 *
 * @param {string} root the repository
 */
export function findEntry(root) {
  const made = readMade(root)
  const bundled = made && join(root, DIST, made.folder, ENTRY)
  const runs = bundled && (isInstalled(root) ? statOf(bundled) : isOf(root, made))
  return runs ? bundled : join(root, 'src', 'cli', 'cli.ts')
}

/**
 * Whether it is a package that npm has put in place, of which nobody edits the sources; nor does Node strip types
 * there. Another version of what is in the bundle may lie beside it: the one inside is run.
 *
 * @param {string} root
 */
const isInstalled = (root) => root.split(sep).includes('node_modules')

/**
 * Whether there is a bundle of the sources as they are now.
 *
 * @param {string} root the repository
 */
export function isBundled(root) {
  const made = readMade(root)
  return made !== null && isOf(root, made)
}

/**
 * @param {string} root
 * @param {Made} made
 */
function isOf(root, made) {
  if (!statOf(join(root, DIST, made.folder, ENTRY))) return false
  const isSame = (/** @type {[string, Source]} */ [path, before]) => isAsBefore(join(root, path), before)
  const tools = Object.entries(made.tools).filter(([path]) => statOf(join(root, path)))
  return [...Object.entries(made.sources), ...tools].every(isSame)
}

/**
 * @param {string} path
 * @returns {Source}
 */
export function sourceAt(path) {
  const { size, mtimeMs: time } = statSync(path)
  return { size, time, sha256: createHash('sha256').update(readFileSync(path)).digest('base64url') }
}

/**
 * The last bundle; null: none, or none that was made whole.
 *
 * @param {string} root
 * @returns {Made | null}
 */
export function readMade(root) {
  try {
    const made = JSON.parse(readFileSync(join(root, DIST, MADE), 'utf8'))
    return typeof made.folder === 'string' && made.sources && made.tools ? made : null
  } catch {
    return null
  }
}

/**
 * @param {string} path
 * @param {Source} before
 */
function isAsBefore(path, before) {
  const now = statOf(path)
  if (now?.size !== before.size) return false
  return now.mtimeMs === before.time || sourceAt(path).sha256 === before.sha256
}

/** @param {string} path */
const statOf = (path) => statSync(path, { throwIfNoEntry: false })
