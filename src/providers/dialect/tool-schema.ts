import type { Dialect } from '../../candidates/dialect.ts'
import { isObject } from '../../openai/is-object.ts'

type Schema = Record<string, unknown>
type Rules = Dialect['tools']

/** Places in a JSON schema where names are the client's own, not keywords. */
const NAMED = new Set(['properties', '$defs', 'definitions', 'patternProperties', 'dependentSchemas'])
/** And where values are data. */
const DATA = new Set(['enum', 'const', 'default', 'examples', 'required'])

/** A function's parameters as a model takes them; the very same where nothing is to be changed. */
export function schemaFor(parameters: unknown, rules: Rules): unknown {
  const { schema_without: without = [], object_schema: object, inline_refs: inline, nullable } = rules
  const { array_items: items, text_enums: textEnums, formats } = rules
  let schema = parameters
  if (isSchema(schema)) {
    if (inline) schema = inlined(schema)
    schema = mapped(schema as Schema, (node) => {
      let own = without.length > 0 ? withoutKeywords(node, without) : node
      if (nullable) own = withoutTypeList(own)
      if (items && own.type === 'array' && own.items === undefined && own.prefixItems === undefined)
        own = { ...own, items }
      if (textEnums) own = withTextEnum(own)
      if (formats && typeof own.format === 'string' && !formats.includes(own.format)) own = omit(own, 'format')
      return own
    })
  }
  return object ? objectSchema(schema) : schema
}

/** Whether some node of a schema has a keyword; names of the client's own are none. */
export function hasKeyword(schema: Schema, keyword: string): boolean {
  let found = false
  mapped(schema, (node) => {
    found ||= keyword in node
    return node
  })
  return found
}

/**
 * Parameters as an object schema without a choice at its top: none at all, `{}` and a schema without a type are
 * functions of no fixed arguments. A choice becomes the properties of all alternatives, of which those are required
 * that each demands; in words the model is told all of it.
 */
export function objectSchema(schema: unknown): unknown {
  if (!isSchema(schema)) return { type: 'object', properties: {} }
  const { anyOf, oneOf, allOf, ...rest } = schema
  const choices = [anyOf, oneOf].find(Array.isArray)?.filter(isSchema) ?? []
  const parts = Array.isArray(allOf) ? allOf.filter(isSchema) : []
  if (choices.length + parts.length === 0) {
    if (schema.type === 'object' && isObject(schema.properties)) return schema
    return { ...schema, type: 'object', properties: isObject(schema.properties) ? schema.properties : {} }
  }
  const own = isObject(rest.properties) ? rest.properties : {}
  const properties = Object.assign({}, ...[...parts, ...choices].map((one) => one.properties ?? {}), own)
  const common = requiredOf(choices[0]).filter((name) => choices.every((one) => requiredOf(one).includes(name)))
  const required = [...new Set([...requiredOf(rest), ...parts.flatMap(requiredOf), ...common])]
  const said = choices.length > 0 ? `Must be one of: ${JSON.stringify(choices)}` : ''
  return {
    ...rest,
    type: 'object',
    properties,
    ...(required.length > 0 && { required }),
    ...told(rest, said),
  }
}

const requiredOf = (schema: Schema | undefined): string[] =>
  Array.isArray(schema?.required) ? schema.required.filter((name) => typeof name === 'string') : []

/** What a schema can no longer say for itself, in its description. */
function told({ description }: Schema, more: string): Schema {
  const text = [description, more].filter((part) => typeof part === 'string' && part !== '').join(' ')
  return text === '' ? {} : { description: text }
}

/** The schema with each of its nodes changed, inner ones first; the very same where none is. */
function mapped(schema: Schema, change: (node: Schema) => Schema): Schema {
  let copy: Schema | null = null
  const set = (key: string, value: unknown) => {
    copy ??= { ...schema }
    copy[key] = value
  }
  for (const [key, value] of Object.entries(schema)) {
    if (DATA.has(key) || typeof value !== 'object' || value === null) continue
    if (Array.isArray(value)) {
      const inner = value.map((sub) => (isSchema(sub) ? mapped(sub, change) : sub))
      if (inner.some((sub, i) => sub !== value[i])) set(key, inner)
    } else if (NAMED.has(key)) {
      const inner = Object.entries(value).map(
        ([name, sub]) => [name, sub, isSchema(sub) ? mapped(sub, change) : sub] as const,
      )
      if (inner.some(([, before, after]) => before !== after))
        set(key, Object.fromEntries(inner.map(([name, , after]) => [name, after])))
    } else {
      const inner = mapped(value as Schema, change)
      if (inner !== value) set(key, inner)
    }
  }
  return change(copy ?? schema)
}

function withoutKeywords(schema: Schema, keywords: readonly string[]): Schema {
  const odd = Object.keys(schema).filter((key) => keywords.includes(key))
  if (odd.length === 0) return schema
  const kept = Object.fromEntries(Object.entries(schema).filter(([key]) => !odd.includes(key)))
  // The same thing in the word that is taken.
  if (odd.includes('const') && !('enum' in schema)) kept.enum = [schema.const]
  return kept
}

function withoutTypeList(schema: Schema): Schema {
  const { type } = schema
  if (!Array.isArray(type)) return schema
  const [first = 'string'] = type.filter((one) => one !== 'null')
  return { ...schema, type: first, ...(type.includes('null') && { nullable: true }) }
}

function withTextEnum(schema: Schema): Schema {
  const { enum: values, ...rest } = schema
  if (!Array.isArray(values) || values.every((value) => typeof value === 'string')) return schema
  const said = `One of ${JSON.stringify(values)}.`
  const type =
    rest.type ?? (typeof values[0] === 'boolean' ? 'boolean' : typeof values[0] === 'number' ? 'number' : 'string')
  return { ...rest, type, ...told(rest, said) }
}

/** Deeper than any tool's arguments go; a type that holds itself ends there. */
const MAX_DEPTH = 6

/** The schema with what its references stand for in their places. */
function inlined(schema: Schema): Schema {
  if (!JSON.stringify(schema).includes('"$ref"')) return schema
  const { $defs, definitions, ...rest } = schema
  const named = (ref: string): unknown => {
    const [, where, name = ''] = /^#\/(\$defs|definitions)\/(.+)$/.exec(ref) ?? []
    const all = where === '$defs' ? $defs : definitions
    return isObject(all) ? all[name.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined
  }
  const resolve = (value: unknown, depth: number): unknown => {
    if (Array.isArray(value)) return value.map((one) => resolve(one, depth))
    if (!isObject(value)) return value
    if (typeof value.$ref === 'string') {
      const { $ref, ...beside } = value
      const found = depth < MAX_DEPTH ? named($ref) : undefined
      if (!isObject(found)) return { type: 'object', ...beside }
      return { ...(resolve(found, depth + 1) as Schema), ...beside }
    }
    return Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, DATA.has(key) ? inner : resolve(inner, depth)]),
    )
  }
  return resolve(rest, 0) as Schema
}

const omit = (schema: Schema, field: string): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => key !== field))

const isSchema = (value: unknown): value is Schema => isObject(value) && !Array.isArray(value)
