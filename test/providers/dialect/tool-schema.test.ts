import { expect, test } from 'vitest'
import { schemaFor } from '../../../src/providers/dialect/tool-schema.ts'

const GEMINI = {
  object_schema: true,
  inline_refs: true,
  nullable: true,
  array_items: { type: 'string' },
  text_enums: true,
  formats: ['date-time'],
  schema_without: ['additionalProperties', 'const', '$schema'],
}

test('nothing to change: the very same schema', () => {
  const schema = { type: 'object', properties: { a: { type: 'string', enum: ['x'], format: 'date-time' } } }
  expect(schemaFor(schema, GEMINI)).toBe(schema)
})

test.each([
  [undefined, { type: 'object', properties: {} }],
  [{}, { type: 'object', properties: {} }],
  [{ type: 'object' }, { type: 'object', properties: {} }],
])('no schema to speak of: %j', (given, schema) => {
  expect(schemaFor(given, { object_schema: true })).toEqual(schema)
})

test('a choice at the top becomes the properties of all, and words', () => {
  const [a, b] = [
    { properties: { a: { type: 'string' }, c: { type: 'string' } }, required: ['a', 'c'] },
    { properties: { b: { type: 'string' } }, required: ['b', 'c'] },
  ]
  const schema = schemaFor({ oneOf: [a, b], description: 'D.' }, { object_schema: true }) as Record<string, unknown>
  expect(schema).toMatchObject({
    type: 'object',
    required: ['c'],
    description: expect.stringMatching(/^D\. Must be one of/),
  })
  expect(Object.keys(schema.properties as object)).toEqual(['a', 'c', 'b'])
  expect(schema).not.toHaveProperty('oneOf')
})

test('references are put in place, and one that holds itself ends', () => {
  const Node = { type: 'object', properties: { value: { type: 'number' }, next: { $ref: '#/$defs/Node' } } }
  const schema = schemaFor({ type: 'object', properties: { head: { $ref: '#/$defs/Node' } }, $defs: { Node } }, GEMINI)
  expect(JSON.stringify(schema)).not.toMatch(/\$ref|\$defs/)
  expect(schema).toMatchObject({
    properties: { head: { properties: { value: { type: 'number' }, next: { type: 'object' } } } },
  })
})

test('lists of types, arrays without items, enumerations of numbers, formats; names of properties are left alone', () => {
  const properties = {
    to: { type: ['null', 'string'] },
    tags: { type: 'array' },
    level: { enum: [1, 2] },
    mail: { type: 'string', format: 'email' },
    const: { type: 'boolean' },
    kind: { const: 'now' },
    map: { type: 'object', additionalProperties: { type: 'array' } },
    any: { anyOf: [{ type: 'array' }, { type: 'null' }] },
  }
  expect(schemaFor({ $schema: 'x', type: 'object', properties }, GEMINI)).toEqual({
    type: 'object',
    properties: {
      to: { type: 'string', nullable: true },
      tags: { type: 'array', items: { type: 'string' } },
      level: { type: 'number', description: 'One of [1,2].' },
      mail: { type: 'string' },
      const: { type: 'boolean' },
      kind: { enum: ['now'] },
      map: { type: 'object' },
      any: { anyOf: [{ type: 'array', items: { type: 'string' } }, { type: 'null' }] },
    },
  })
})
