import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  exportedLine,
  interactionLine,
  interactionSchema,
  readInteraction,
  readReward,
  rewardLine,
  rewardSchema,
  TABLES,
} from '../../../src/store/records/codec.ts'
import { anInteraction, aReward, NO_CANDIDATES } from '../records.ts'

const SCHEMA = '../../../router-model/router_model/retrain/record.schema.json'
const DOCS = '../../../docs/records.md'
const here = (path: string) => new URL(path, import.meta.url)

const whole = () =>
  anInteraction({
    text: 'hello',
    textExpiresAt: 2e12,
    key: 'key_1',
    vouched: true,
    endpoint: 'chat',
    arm: 'route',
    group: 'known',
    predicted: { quality: 0.75, completion_tokens: 120 },
    baselineUsd: null,
    gain: { baseline: 'b', policy: 'p', group: 'new', weight: 1, least: 0, largest: 2 },
    shadow: { policy: 'next', candidates: NO_CANDIDATES },
  })

describe('one table for records', () => {
  test('says every field of a record, by its name on disk, in both forms', () => {
    const record = whole()
    const names = Object.values(TABLES.interaction).map(({ name }) => name)
    const [stored, exported] = [interactionLine(record), exportedLine(record)].map((line) => JSON.parse(line))
    expect(Object.keys(exported)).toEqual(['type', ...names])
    expect(Object.keys(stored).toSorted()).toEqual(['type', ...names].toSorted())
    expect(Object.keys(record).toSorted()).toEqual(Object.keys(TABLES.interaction).toSorted())
    for (const { type: _, ...document } of [stored, exported]) {
      expect(interactionSchema.parse(document)).toEqual(document)
      expect(readInteraction(document)).toEqual(record)
    }
  })

  test('leaves out what a record leaves out', () => {
    const record = anInteraction()
    const { type: _, ...document } = JSON.parse(interactionLine(record))
    expect(Object.keys(document)).not.toContain('shadow')
    expect(Object.keys(document)).not.toContain('text_expires_at')
    expect(Object.keys(readInteraction(document)).toSorted()).toEqual(Object.keys(record).toSorted())
  })

  test('the same for rewards', () => {
    const record = aReward({ comment: 'so so', askedAt: 5 })
    const { type, ...document } = JSON.parse(rewardLine(record))
    expect(type).toBe('reward')
    expect(Object.keys(document)).toEqual(Object.values(TABLES.reward).map(({ name }) => name))
    expect(rewardSchema.parse(document)).toEqual(document)
    expect(readReward(document)).toEqual(record)
  })
})

describe('what follows from it (-u writes it)', () => {
  test('the JSON schema, which the Python reader knows the fields from', async () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      title: 'A line of an export, a row of a store: docs/records.md',
      $defs: {
        interaction: z.toJSONSchema(interactionSchema, { io: 'input' }),
        reward: z.toJSONSchema(rewardSchema, { io: 'input' }),
      },
    }
    for (const part of Object.values(schema.$defs)) delete part.$schema
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(SCHEMA)
  })

  test('the tables of docs/records.md', async () => {
    let docs = readFileSync(here(DOCS), 'utf8')
    for (const [name, table] of Object.entries(TABLES)) {
      const rows = Object.values(table).map(
        (field) => `| \`${field.name}\` | ${typeOf(field.schema)} | ${field.note} |`,
      )
      const text = ['| field | type | note |', '| --- | --- | --- |', ...rows].join('\n')
      const place = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- end -->)`)
      expect(docs).toMatch(place)
      docs = docs.replace(place, (_, begin, end) => `${begin}${text}\n${end}`)
    }
    await expect(docs).toMatchFileSnapshot(DOCS)
  })
})

interface JsonSchema {
  type?: string | string[]
  enum?: string[]
  anyOf?: JsonSchema[]
  items?: JsonSchema
  minimum?: number
  maximum?: number
}

/** As a reader of the table would say it. */
function typeOf(schema: z.ZodType): string {
  const say = (json: JsonSchema): string => {
    if (Array.isArray(json.type)) return json.type.map((type) => say({ ...json, type })).join(' or ')
    if (json.enum) return json.enum.map((one) => `\`${one}\``).join(', ')
    if (json.anyOf?.some(({ type }) => type === 'array')) return 'list'
    if (json.anyOf) return json.anyOf.map(say).join(' or ')
    if (json.type === 'array') return 'list'
    if (json.type === 'number' && json.minimum !== undefined && json.maximum !== undefined) {
      return `${json.minimum} … ${json.maximum}`
    }
    return json.type === 'integer' ? 'whole number' : (json.type ?? '')
  }
  const optional = schema.safeParse(undefined).success
  return say(z.toJSONSchema(schema, { io: 'input' }) as JsonSchema) + (optional ? ', may be absent' : '')
}
