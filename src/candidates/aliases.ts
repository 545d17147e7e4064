/** A model name that stands for `auto`, a group or a candidate; a `*` in it stands for any characters. */
export interface Alias {
  pattern: string
  target: string
}

/**
 * Aliases in order of precedence: the tenant's before everyone's, the most specific of each first.
 *
 * @param own pattern -> target, of the tenant
 * @param shared pattern -> target, of all tenants
 */
export function orderAliases(own: Record<string, string>, shared: Record<string, string>): Alias[] {
  const inherited = Object.entries(shared).filter(([pattern]) => !Object.hasOwn(own, pattern))
  return [...ordered(Object.entries(own)), ...ordered(inherited)]
}

/** The target of the first alias that matches. */
export const aliasTarget = (aliases: readonly Alias[], model: string): string | undefined =>
  aliases.find(({ pattern }) => matches(pattern, model))?.target

const ordered = (entries: [pattern: string, target: string][]): Alias[] =>
  entries
    .map(([pattern, target]) => ({ pattern, target }))
    .sort((a, b) => Number(isGlob(a)) - Number(isGlob(b)) || literals(b) - literals(a))

const isGlob = ({ pattern }: Alias) => pattern.includes('*')
const literals = ({ pattern }: Alias) => pattern.replaceAll('*', '').length

/** Linear time, without a regular expression that could backtrack. */
function matches(pattern: string, model: string): boolean {
  const [first = '', ...rest] = pattern.split('*')
  const last = rest.pop()
  if (last === undefined) return pattern === model
  if (model.length < first.length + last.length || !model.startsWith(first) || !model.endsWith(last)) return false
  const end = model.length - last.length
  let at = first.length
  for (const part of rest) {
    const found = model.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}
