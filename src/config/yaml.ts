import { CORE_SCHEMA, loadAll, mergeTag, YAMLException } from 'js-yaml'

/** Repeats (`*name`) in a file, and values once all are written out: "billion laughs" stay small. */
const MAX_ALIASES = 100
const MAX_VALUES = 100_000

const schema = CORE_SCHEMA.withTags(mergeTag)

/**
 * Parses one document of YAML 1.2 with merge keys (`<<`).
 *
 * @returns `value`, undefined where there is nothing but comments; or `problem`: what is wrong and where, without the
 *   line itself, which may hold a secret
 */
export function parseYaml(text: string): { value?: unknown; problem?: string } {
  try {
    const [value, ...others] = loadAll(text, { schema, maxAliases: MAX_ALIASES })
    if (others.length > 0) return { problem: 'holds several documents (`---`): one is read' }
    if (countValues(value, new Map()) > MAX_VALUES) return { problem: 'holds too many repeated values (`*name`)' }
    return { value }
  } catch (error) {
    if (!(error instanceof YAMLException)) return { problem: 'is not YAML' }
    return { problem: problemOf(error, text) }
  }
}

function problemOf({ reason, mark }: YAMLException, text: string): string {
  // Names of aliases and tags: an unquoted secret may begin like one.
  const what = reason.replace(/ ?(".*"|!<.*>)/g, '')
  if (!mark) return what
  const line = text.split('\n')[mark.line] ?? ''
  const hint = /[{[][^"']*\$\{/.test(line) ? '; inside { } and [ ] variables need quotes' : ''
  return `${what} at line ${mark.line + 1}, column ${mark.column + 1}${hint}`
}

/** Values of a tree whose repeated branches count each time; one that holds itself has no end. */
function countValues(value: unknown, counted: Map<object, number>): number {
  if (typeof value !== 'object' || value === null) return 1
  const known = counted.get(value)
  if (known !== undefined) return known
  counted.set(value, Number.POSITIVE_INFINITY)
  let count = 1
  for (const one of Object.values(value)) count += countValues(one, counted)
  counted.set(value, count)
  return count
}
