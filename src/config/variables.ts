/** A field whose text names a variable of the environment that is not set, and has no default. */
export interface UnsetField {
  path: readonly (string | number)[]
  variable: string
}

export interface Substituted {
  value: unknown
  /** Fields that were left out for want of a variable. */
  unset: UnsetField[]
  /** Problems of the text itself: `path: what`. */
  problems: string[]
}

/** Of each mapping and list: what came from variables in it, and their names. */
export type Sources = WeakMap<object, ReadonlyMap<PropertyKey, string>>

/** `${VAR}`, `${VAR:-default}`; `$${` stands for `${`. What else begins like one is a mistake. */
const VARIABLE = /(\$)?\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?/g

type Path = readonly (string | number)[]

/**
 * Puts the environment's values into the texts of a configuration. A variable that is empty counts as not set. A field
 * that is nothing but a variable with an empty default (`${VAR:-}`) is left out where the variable is not set.
 *
 * @param sources gets those of what is returned
 */
export function substitute(value: unknown, env: NodeJS.ProcessEnv, sources: Sources): Substituted {
  const unset: UnsetField[] = []
  const problems: string[] = []
  return { value: walk(value, []), unset, problems }

  function walk(node: unknown, path: Path): unknown {
    if (typeof node === 'string') return text(node, path)
    if (Array.isArray(node)) {
      const items = node.map((item, index) => ({ item, walked: walk(item, [...path, index]) }))
      const kept = items.filter(({ walked }) => walked !== undefined)
      const list = kept.map(({ walked }) => walked)
      sources.set(list, new Map(kept.flatMap(({ item }, index) => named(index, item))))
      return list
    }
    if (typeof node !== 'object' || node === null) return node
    const entries = Object.entries(node).map(([key, item]) => [key, walk(item, [...path, key])] as const)
    const mapping = Object.fromEntries(entries.filter(([, item]) => item !== undefined))
    sources.set(mapping, new Map(Object.entries(node).flatMap(([key, item]) => named(key, item))))
    return mapping
  }

  function text(raw: string, path: Path): string | undefined {
    let isLeftOut = false
    const replaced = raw.replace(VARIABLE, (all, doubled?: string, variable?: string, fallback?: string) => {
      if (doubled !== undefined) return all.slice(1)
      if (variable === undefined) {
        problems.push(
          `${path.join('.')}: '\${' begins a variable such as \${NAME} or \${NAME:-default}; '$\${' is the text itself`,
        )
        return all
      }
      const found = env[variable] || fallback
      if (found === undefined) {
        isLeftOut = true
        unset.push({ path, variable })
      }
      return found ?? ''
    })
    const isEmpty = replaced === '' && raw !== ''
    if (!isLeftOut && !isEmpty) return replaced
    // Some kinds of providers have an address of their own, which was not meant.
    return BASE_URL.test(path.join('.')) ? '' : undefined
  }
}

/** The variables that a text names, as an entry of its field. */
function named<K extends string | number>(key: K, value: unknown): [K, string][] {
  if (typeof value !== 'string') return []
  const names = [...value.matchAll(VARIABLE)].flatMap(([, doubled, name]) => (doubled || !name ? [] : [name]))
  return names.length > 0 ? [[key, names.join(', ')]] : []
}

/**
 * Fields that may lack their variable, since leaving them out turns off what they belong to, and the gateway tells so.
 * Everywhere else a default would come in their place: no limit, another store, another secret.
 */
const MAY_BE_UNSET = /^(providers\.[^.]+\.(api_key|api_key_file|base_url)|admin\.(key|key_file))$/

const BASE_URL = /^providers\.[^.]+\.base_url$/

/** Problems of variables that are not set: path, variable, and what to do. */
export const unsetProblems = (unset: readonly UnsetField[]): string[] =>
  unset
    .filter(({ path }) => !MAY_BE_UNSET.test(path.join('.')))
    .map(
      ({ path, variable }) =>
        `${path.join('.')}: the variable ${variable} is not set; set it, or give a default: \${${variable}:-…}`,
    )

/** Numbers and truth values come as text from the environment. */
export function numberOf(text: string): number | undefined {
  return /^\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*$/i.test(text) ? Number(text) : undefined
}

export function truthOf(text: string): boolean | undefined {
  if (/^\s*(true|yes|on|1)\s*$/i.test(text)) return true
  return /^\s*(false|no|off|0)\s*$/i.test(text) ? false : undefined
}
