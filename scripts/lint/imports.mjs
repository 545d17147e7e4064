import { readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { parseSync, Visitor } from 'oxc-parser'

/**
 * One file's import of another file or of a package. Type imports count: who reads a type has to know the file.
 *
 * @typedef {object} Import
 * @property {string} from path from the root of the repository
 * @property {string} to such a path, or the name of a package (`ioredis`, `node:sqlite`)
 */

/**
 * @param {string} root
 * @param {string[]} files paths from `root`
 * @returns {Import[]}
 */
export const importsOf = (root, files) =>
  files.flatMap((file) => findImports(file, readFileSync(join(root, file), 'utf8')))

/**
 * Imports, exports from elsewhere, `import()` as an expression and as a type.
 *
 * @param {string} file
 * @param {string} text
 * @returns {Import[]}
 */
export function findImports(file, text) {
  const { program } = parseSync(file, text)
  /** @type {Set<string>} */
  const found = new Set()
  const note = (/** @type {unknown} */ source) => {
    const value = /** @type {{ value?: unknown } | null} */ (source)?.value
    if (typeof value === 'string') found.add(value)
  }
  new Visitor({
    ImportDeclaration: ({ source }) => note(source),
    ExportAllDeclaration: ({ source }) => note(source),
    ExportNamedDeclaration: ({ source }) => note(source),
    ImportExpression: ({ source }) => note(source),
    TSImportType: ({ source }) => note(source),
  }).visit(program)
  return [...found].map((specifier) => ({
    from: file,
    to: specifier.startsWith('.') ? posix.normalize(posix.join(dirname(file), specifier)) : specifier,
  }))
}

/**
 * The shortest cycle through each knot of files that reach each other.
 *
 * @param {Import[]} imports
 * @returns {string[][]} files in order; the first imports the second, the last the first
 */
export function findCycles(imports) {
  /** @type {Map<string, string[]>} */
  const graph = new Map()
  for (const { from, to } of imports) graph.set(from, [...(graph.get(from) ?? []), to])
  /** @type {string[][]} */
  const cycles = []
  const seen = new Set()
  for (const file of [...graph.keys()].sort()) {
    if (seen.has(file)) continue
    const cycle = shortestCycle(graph, file)
    if (!cycle) continue
    for (const member of cycle) seen.add(member)
    cycles.push(cycle)
  }
  return cycles
}

/**
 * @param {Map<string, string[]>} graph
 * @param {string} start
 */
function shortestCycle(graph, start) {
  /** @type {Map<string, string | null>} */
  const reachedFrom = new Map([[start, null]])
  // Breadth first: a map gives what is added while it is read, too.
  for (const [file] of reachedFrom) {
    for (const next of graph.get(file) ?? []) {
      if (next === start) return pathTo(file, reachedFrom)
      if (!reachedFrom.has(next)) reachedFrom.set(next, file)
    }
  }
  return null
}

/**
 * @param {string} file
 * @param {Map<string, string | null>} reachedFrom
 * @returns {string[]}
 */
function pathTo(file, reachedFrom) {
  const before = reachedFrom.get(file)
  return before ? [...pathTo(before, reachedFrom), file] : [file]
}
