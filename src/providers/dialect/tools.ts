import type { Dialect } from '../../candidates/dialect.ts'
import { isObject } from '../../openai/is-object.ts'

type Fields = Record<string, unknown>

/** Why a model can't be given these tools, or undefined. */
export function unfitTools(tools: unknown, { types }: Dialect['tools']): string | undefined {
  if (types === undefined || !Array.isArray(tools)) return undefined
  const odd = tools.find((tool) => !isObject(tool) || !types.includes(String(tool.type)))
  return odd === undefined ? undefined : `does not take tools of type ${isObject(odd) ? String(odd.type) : '?'}`
}

/** Tools in a model's own terms; the very same where nothing is to be changed. */
export function toolsFor(
  tools: readonly unknown[],
  { strict, schema_without: without = [], object_schema: object }: Dialect['tools'],
): { tools: readonly unknown[]; dropped: boolean } {
  let changed = false
  let dropped = false
  const translated = tools.map((tool) => {
    if (!isObject(tool) || !isObject(tool.function)) return tool
    let called = tool.function as Fields
    if (strict === false && 'strict' in called) {
      dropped ||= called.strict === true
      called = omit(called, 'strict')
    }
    const { parameters } = called
    let schema = isObject(parameters) && without.length > 0 ? withoutKeywords(parameters, without) : parameters
    if (object) schema = objectSchema(schema)
    if (schema !== parameters) called = { ...called, parameters: schema }
    if (called === tool.function) return tool
    changed = true
    return { ...tool, function: called }
  })
  return { tools: changed ? translated : tools, dropped }
}

function omit(object: Fields, field: string): Fields {
  const { [field]: _, ...rest } = object
  return rest
}

/**
 * Parameters as an object schema: none at all, `{}` and a schema without a type are functions of no fixed arguments.
 */
function objectSchema(schema: unknown): unknown {
  if (!isObject(schema) || Array.isArray(schema)) return { type: 'object', properties: {} }
  if (schema.type === 'object' && isObject(schema.properties)) return schema
  if (schema.type === undefined || schema.type === 'object')
    return { ...schema, type: 'object', properties: schema.properties ?? {} }
  return schema
}

/** Places in a JSON schema where names are the client's own, not keywords. */
const NAMED = new Set(['properties', '$defs', 'definitions', 'patternProperties', 'dependentSchemas'])
/** And where values are data. */
const DATA = new Set(['enum', 'const', 'default', 'examples', 'required'])

function withoutKeywords(schema: Fields, keywords: readonly string[]): Fields {
  let copy: Fields | null = null
  const set = (key: string, value: unknown) => {
    copy ??= { ...schema }
    copy[key] = value
  }
  for (const [key, value] of Object.entries(schema)) {
    if (keywords.includes(key)) {
      copy ??= { ...schema }
      delete copy[key]
      // The same thing in the word that is taken.
      if (key === 'const' && typeof value === 'string' && !('enum' in schema)) copy.enum = [value]
    } else if (DATA.has(key) || !isObject(value)) continue
    else if (NAMED.has(key)) {
      const inner = Object.entries(value).map(
        ([name, sub]) => [name, sub, isObject(sub) ? withoutKeywords(sub as Fields, keywords) : sub] as const,
      )
      if (inner.some(([, before, after]) => before !== after))
        set(key, Object.fromEntries(inner.map(([name, , after]) => [name, after])))
    } else if (Array.isArray(value)) {
      const inner = value.map((sub) => (isObject(sub) && !Array.isArray(sub) ? withoutKeywords(sub, keywords) : sub))
      if (inner.some((sub, i) => sub !== value[i])) set(key, inner)
    } else {
      const inner = withoutKeywords(value as Fields, keywords)
      if (inner !== value) set(key, inner)
    }
  }
  return copy ?? schema
}
