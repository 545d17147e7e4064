import { ownOf } from '../../../runtime/own.ts'

type Schema = Record<string, unknown>

export interface Fill {
  /** Of a string without constraints, by property name. */
  text(field: string): string
  /** Of a boolean. */
  flag: boolean
}

const MAX_DEPTH = 12

/**
 * The smallest value that a JSON schema (the subset that OpenAI's structured outputs allow) accepts: required
 * properties, first `enum` value, first branch of `anyOf`. In strict schemas every property is required.
 *
 * @param fill values where the schema leaves the choice
 */
export function instanceOf(schema: unknown, fill: Fill): unknown {
  return build(isSchema(schema) ? schema : {}, 'value', fill, isSchema(schema) ? schema : {}, 0)
}

function build(schema: Schema, field: string, fill: Fill, root: Schema, depth: number): unknown {
  if (depth > MAX_DEPTH) return null
  const next = (inner: unknown, name = field) => build(isSchema(inner) ? inner : {}, name, fill, root, depth + 1)
  if ('const' in schema) return schema.const
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (typeof schema.$ref === 'string') return next(resolve(root, schema.$ref))
  for (const key of ['anyOf', 'oneOf']) {
    const branches = schema[key]
    // A branch that is plainly null ends recursive types ("child: Node | null").
    if (Array.isArray(branches))
      return next(
        depth > 3 ? (branches.find(isNull) ?? branches[0]) : (branches.find((b) => !isNull(b)) ?? branches[0]),
      )
  }
  if (Array.isArray(schema.allOf)) return next(Object.assign({}, ...schema.allOf.filter(isSchema)))
  switch (typeOf(schema)) {
    case 'object': {
      const properties = isSchema(schema.properties) ? schema.properties : {}
      const required = Array.isArray(schema.required) ? schema.required.map(String) : []
      return Object.fromEntries(required.map((name) => [name, next(properties[name], name)]))
    }
    case 'array': {
      const length =
        depth > 4
          ? number(schema.minItems, 0)
          : Math.max(number(schema.minItems, 0), Math.min(1, number(schema.maxItems, 1)))
      return Array.from({ length: Math.min(length, 32) }, () => next(schema.items))
    }
    case 'integer':
      return Math.ceil(inRange(schema))
    case 'number':
      return inRange(schema)
    case 'boolean':
      return fill.flag
    case 'null':
      return null
    default:
      return text(schema, fill.text(field))
  }
}

function typeOf(schema: Schema): string {
  const { type } = schema
  if (typeof type === 'string') return type
  if (Array.isArray(type)) return String(type.find((name) => name !== 'null') ?? 'null')
  return 'properties' in schema ? 'object' : 'items' in schema ? 'array' : 'string'
}

function inRange(schema: Schema): number {
  const step = number(schema.multipleOf, 1)
  const low = Math.max(
    number(schema.minimum, Number.NEGATIVE_INFINITY),
    number(schema.exclusiveMinimum, Number.NEGATIVE_INFINITY) + step,
  )
  const high = Math.min(
    number(schema.maximum, Number.POSITIVE_INFINITY),
    number(schema.exclusiveMaximum, Number.POSITIVE_INFINITY) - step,
  )
  const value = Math.min(Math.max(step, low), high)
  return Math.ceil(value / step) * step
}

const FORMATS: Record<string, string> = {
  date: '2025-01-01',
  time: '12:00:00Z',
  'date-time': '2025-01-01T12:00:00Z',
  duration: 'PT1H',
  email: 'sandbox@example.com',
  hostname: 'example.com',
  uri: 'https://example.com/',
  ipv4: '192.0.2.1',
  ipv6: '2001:db8::1',
  uuid: '00000000-0000-4000-8000-000000000000',
}

function text(schema: Schema, filled: string): string {
  const format = typeof schema.format === 'string' ? ownOf(FORMATS, schema.format) : undefined
  const value = format ?? filled
  return value.slice(0, number(schema.maxLength, 2_000)).padEnd(number(schema.minLength, 0), '.')
}

function resolve(root: Schema, ref: string): unknown {
  return ref
    .replace(/^#\/?/, '')
    .split('/')
    .filter(Boolean)
    .reduce<unknown>(
      (node, key) => (isSchema(node) ? node[key.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined),
      root,
    )
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isNull = (value: unknown) => isSchema(value) && value.type === 'null'
const number = (value: unknown, fallback: number) => (typeof value === 'number' ? value : fallback)
