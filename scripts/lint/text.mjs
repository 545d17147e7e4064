import { parseSync } from 'oxc-parser'

const COLUMNS = 120

/** A user, an operator, a replica is "they", or is named. */
const PRONOUN = /\bh(?:e|is|im|imself)\b/i

/**
 * Lines of comment that are too wide, and words for people that the house does not use.
 *
 * @param {string} file its ending says which language it is
 * @param {string} text
 * @returns {string[]} a line each: `file:line: what`
 */
export function textProblems(file, text) {
  const lines = text.split('\n')
  const wide = commentLines(file, text)
    .filter((number) => [...(lines[number] ?? '')].length > COLUMNS && !lines[number]?.includes('biome-ignore'))
    .map((number) => `${file}:${number + 1}: a comment wider than ${COLUMNS} columns`)
  const people = lines.flatMap((line, number) => {
    const word = PRONOUN.exec(line)?.[0]
    return word ? [`${file}:${number + 1}: "${word}": say "they", or who it is`] : []
  })
  return [...wide, ...people]
}

/**
 * @param {string} file
 * @param {string} text
 * @returns {number[]} lines, from 0, that hold a comment or a part of one
 */
function commentLines(file, text) {
  if (/\.(?:ts|mjs|js)$/.test(file)) {
    return [...new Set(parseSync(file, text).comments.flatMap(({ start, end }) => linesOf(text, start, end)))]
  }
  if (file.endsWith('.py')) return pythonCommentLines(text)
  if (file.endsWith('.md')) return []
  const mark = file.endsWith('.lua') ? /(?:^|\s)--/ : /(?:^|\s)#/
  return text.split('\n').flatMap((line, number) => (mark.test(line) ? [number] : []))
}

/**
 * @param {string} text
 * @param {number} start
 * @param {number} end
 */
function linesOf(text, start, end) {
  const first = count(text.slice(0, start))
  return Array.from({ length: count(text.slice(start, end)) + 1 }, (_, index) => first + index)
}

const count = (/** @type {string} */ text) => text.split('\n').length - 1

/** Comments of their own line, and docstrings; what follows code is ruff's. */
function pythonCommentLines(/** @type {string} */ text) {
  let inside = false
  return text.split('\n').flatMap((line, number) => {
    const marks = line.split('"""').length - 1
    const holds = inside || /^\s*#/.test(line) || /^\s*[rf]?"""/.test(line)
    if (marks % 2 === 1) inside = !inside && holds
    return holds ? [number] : []
  })
}
