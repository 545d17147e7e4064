/** Fields that hold a secret, or a list of them. */
const FIELD = /^(?:api_key|key|keys|read_key|secret|previous_secrets|password)$/
/** Sent in a header, where no space can be. */
const IN_HEADER = /^(?:api_key|key|keys|read_key)$/
/** How other programs name a variable of the environment: LiteLLM, shells, templates, Windows. */
const REFERENCE = /^(?:os\.environ\/|env[:.]|\$[A-Z_][A-Z0-9_]*$|\{\{.*\}\}$|%[A-Z_][A-Z0-9_]*%$)/
const PLACEHOLDER = /(?:^|[-_ ])(?:your|placeholder|change[-_ ]?me|replace[-_ ]?me)(?:$|[-_ ])|^<.*>$/i

/**
 * Secrets that are likely none, as what a key was copied from says instead of it. Tells where, never what.
 *
 * @param path of `section` in the configuration
 */
export function secretNotes(section: object, path = ''): string[] {
  return Object.entries(section).flatMap(([name, value]) => {
    const at = path === '' ? name : `${path}.${name}`
    if (FIELD.test(name) && (typeof value === 'string' || isTexts(value))) {
      return [value].flat().flatMap((secret) => noteOf(name, secret, at))
    }
    return typeof value === 'object' && value !== null ? secretNotes(value, at) : []
  })
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === 'string')

function noteOf(name: string, secret: string, at: string): string[] {
  if (REFERENCE.test(secret)) return [`${at}: is taken as it stands; a variable of the environment is \${NAME} here`]
  if (PLACEHOLDER.test(secret)) return [`${at}: looks like a placeholder`]
  return IN_HEADER.test(name) && /\s/.test(secret) ? [`${at}: has a space or a line break in it`] : []
}
