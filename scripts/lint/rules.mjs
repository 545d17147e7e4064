import { findCycles } from './imports.mjs'

/** @typedef {import('./imports.mjs').Import} Import */

/**
 * Layers of `src/`, the uppermost first: a file imports from its own layer and from those below, never from above. An
 * entry is a file without its ending, or a folder with its slash; the longest that fits counts.
 */
const LAYERS = [
  ['cli/cli'],
  ['main'],
  ['services', 'services/'],
  ['server/', 'cli/'],
  ['console/'],
  ['api/'],
  ['pipeline/'],
  // One configuration resolved to what it stands for.
  ['config/'],
  ['providers/', 'routing/', 'learning/'],
  ['store/', 'embedding/', 'candidates/', 'openai/'],
  // The form of a configuration, and what can be told from it alone.
  [
    'config/schema',
    'candidates/schema',
    'candidates/candidate',
    'candidates/dialect',
    'providers/kind-schemas',
    'providers/guards',
    'providers/litellm-guards',
    'providers/kinds/*/schema',
    'providers/fields',
  ],
  ['observability/'],
  ['runtime/', 'errors'],
]

/** Files that may lie at the root of `src/`. */
const ROOT_FILES = new Set(['main', 'services', 'errors'])

/**
 * Who alone may import something: `what` and `by` are prefixes of paths from `src/`, or names of packages.
 *
 * @type {{ what: string[], by: string[] }[]}
 */
const RESERVED = [
  { what: ['ioredis'], by: ['store/redis/'] },
  { what: ['node:sqlite'], by: ['store/sqlite/'] },
  { what: ['hyparquet', 'hyparquet-writer'], by: ['store/archive/'] },
  { what: ['store/redis/'], by: ['store/index', 'store/redis/'] },
  { what: ['store/sqlite/'], by: ['store/index', 'store/sqlite/'] },
]

/** @param {string} path from the root of the repository */
const inSrc = (path) => (path.startsWith('src/') ? path.slice('src/'.length).replace(/\.ts$/, '') : null)

/** @param {string} path from `src/`, without its ending */
function layerOf(path) {
  let best = { layer: -1, length: -1 }
  LAYERS.forEach((entries, layer) => {
    for (const entry of entries) {
      const fits = entry.endsWith('/')
        ? path.startsWith(entry)
        : new RegExp(`^${entry.replaceAll('*', '[^/]+')}$`).test(path)
      if (fits && entry.length > best.length) best = { layer, length: entry.length }
    }
  })
  return best.layer
}

/**
 * What breaks the rules of `src/`, a line each.
 *
 * @param {Import[]} imports of all files of `src/`
 * @param {string[]} files of `src/`, from the root of the repository
 * @returns {string[]}
 */
export function brokenRules(imports, files) {
  /** @type {string[]} */
  const broken = []
  for (const file of files) {
    const path = inSrc(file)
    if (path === null || !file.endsWith('.ts')) continue
    if (!path.includes('/') && !ROOT_FILES.has(path)) broken.push(`${file}: not a file for the root of src/`)
    else if (layerOf(path) < 0) broken.push(`${file}: in no layer (scripts/lint/rules.mjs)`)
  }
  for (const { from, to } of imports) {
    const source = inSrc(from)
    if (source === null) continue
    const target = inSrc(to)
    const edge = `${from} -> ${to}`
    if (target !== null && layerOf(target) >= 0 && layerOf(target) < layerOf(source)) broken.push(`${edge}: upward`)
    if (target !== null && source.startsWith('runtime/') && !target.startsWith('runtime/')) {
      broken.push(`${edge}: runtime/ knows nothing of the gateway`)
    }
    const kind = /^providers\/kinds\/([^/]+)/.exec(target ?? '')?.[1]
    if (kind && !knowsKind(source, kind, target ?? '')) {
      broken.push(`${edge}: only its own folder and the registry know a kind of provider`)
    }
    for (const { what, by } of RESERVED) {
      if (startsWithAny(target ?? to, what) && !startsWithAny(source, by)) {
        broken.push(`${edge}: only ${by.join(', ')} may`)
      }
    }
  }
  for (const cycle of findCycles(imports)) broken.push(`${[...cycle, cycle[0]].join(' -> ')}: a cycle`)
  return broken
}

/**
 * Places that ask for a kind of provider by its name: it should say itself what it is (`providers/kind-schemas.ts`).
 *
 * @param {string} file
 * @param {string} text
 * @param {string[]} kinds names of the folders in `src/providers/kinds/`
 * @returns {string[]}
 */
export function kindsByName(file, text, kinds) {
  if (/^src\/providers\/kinds\//.test(file)) return []
  const asked = new RegExp(`kind\\b[\\w\\])]* *[!=]== *'(?:${kinds.join('|')})'`)
  return text
    .split('\n')
    .flatMap((line, number) => (asked.test(line) ? [`${file}:${number + 1}: asks for a kind of provider by name`] : []))
}

/**
 * @param {string} source
 * @param {string} kind
 * @param {string} target
 */
const knowsKind = (source, kind, target) =>
  source.startsWith(`providers/kinds/${kind}`) ||
  source === 'providers/kinds' ||
  (source === 'providers/kind-schemas' && target.endsWith('/schema'))

/**
 * @param {string} text
 * @param {string[]} starts
 */
const startsWithAny = (text, starts) => starts.some((start) => text.startsWith(start))
