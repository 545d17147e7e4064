type Schema = Record<string, unknown>

/**
 * Constraints that structured outputs refuse; the model is told of them in words instead, as Anthropic's own SDKs do.
 */
const CONSTRAINTS = [
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'maxItems',
  'uniqueItems',
  'minProperties',
  'maxProperties',
]

/** A JSON schema in the subset that `output_config.format` takes: closed objects, constraints moved to descriptions. */
export function outputSchema(schema: unknown): Schema {
  if (!isSchema(schema)) return { type: 'object', properties: {}, additionalProperties: false }
  const kept: Schema = {}
  const said: string[] = []
  for (const [key, value] of Object.entries(schema)) {
    if (CONSTRAINTS.includes(key) || (key === 'minItems' && Number(value) > 1))
      said.push(`${key}: ${JSON.stringify(value)}`)
    else kept[key] = convert(key, value)
  }
  if (kept.type === 'object' || 'properties' in kept) kept.additionalProperties = false
  if (said.length > 0) kept.description = [schema.description, `(${said.join(', ')})`].filter(Boolean).join(' ')
  return kept
}

function convert(key: string, value: unknown): unknown {
  switch (key) {
    case 'properties':
    case '$defs':
    case 'definitions':
      return isSchema(value)
        ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, outputSchema(inner)]))
        : value
    case 'items':
      return isSchema(value) ? outputSchema(value) : value
    case 'anyOf':
    case 'allOf':
    case 'oneOf':
      return Array.isArray(value) ? value.map(outputSchema) : value
    default:
      return value
  }
}

/** Keywords under which names are the client's own. */
const NAMED = ['properties', '$defs', 'definitions']

/** Whether a schema describes objects with names of the answer's own choice, which a closed object can't hold. */
export function hasMap(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.some(hasMap)
  if (!isSchema(schema)) return false
  const { additionalProperties: more, patternProperties: named } = schema
  if (isSchema(more) || (more === true && !('properties' in schema)) || isSchema(named)) return true
  return Object.entries(schema).some(([key, value]) =>
    NAMED.includes(key) && isSchema(value) ? Object.values(value).some(hasMap) : hasMap(value),
  )
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
