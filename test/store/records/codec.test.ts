import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { COLUMNS, KINDS, type Kind } from '../../../src/store/archive/columns.ts'
import type { InteractionRecord } from '../../../src/store/records/codec.ts'
import {
  exportedLine,
  interactionLine,
  interactionRow,
  interactionSchema,
  ROW,
  readInteraction,
  readReward,
  rewardLine,
  rewardSchema,
  sharedOf,
  sharingRow,
  storedInteraction,
  TABLES,
} from '../../../src/store/records/codec.ts'
import { anInteraction, aReward, NO_CANDIDATES } from '../records.ts'

const SCHEMA = '../../../router-model/router_model/retrain/record.schema.json'
const ROW_PAIR = '../../../router-model/tests/retrain/row.jsonl'
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

describe('a row', () => {
  const fromRow = (record: InteractionRecord) => readInteraction(storedInteraction(JSON.parse(interactionRow(record))))
  const fromShared = (record: InteractionRecord) => {
    const { row, bytes, shared } = sharingRow(record)
    return readInteraction(storedInteraction(JSON.parse(row), shared.json, bytes))
  }

  test('is read as what it was made of, but for the text', () => {
    for (const record of [
      whole(),
      anInteraction(),
      anInteraction({ reading: null, conversation: null, completionId: null }),
      anInteraction({ gain: null, arm: 'holdout', vouched: false, stream: true, usageEstimated: true }),
      anInteraction({ candidates: NO_CANDIDATES, embedding: { sealed: 'c2VhbGVk' } }),
      anInteraction({
        attempts: [
          { candidate: 'a', provider: 'p', status: null, error: 'timeout', ms: 3, cost_usd: 0.5 },
          { candidate: 'b', provider: 'p', status: 200, error: null, ms: 4 },
        ] as never,
      }),
    ]) {
      for (const read of [fromRow(record), fromShared(record)]) {
        expect(read).toEqual({ ...record, text: null })
        expect(Object.keys(read).toSorted()).toEqual(Object.keys(record).toSorted())
      }
    }
  })

  test('holds no vector in clear', () => {
    const record = anInteraction({ embedding: { int8: 'AAAA', scale: 1 } })
    expect(fromRow(record).embedding).toBeNull()
    expect(fromShared(record).embedding).toBeNull()
  })

  test('has a place for every field: new ones come last', () => {
    const fields = Object.values(TABLES.interaction).filter(({ name }) => name !== 'text')
    expect(ROW.names.toSorted()).toEqual(fields.map(({ name }) => name).toSorted())
    // An earlier version's rows are read by it: never change what stands here.
    expect(ROW.names.slice(0, 36)).toMatchInlineSnapshot(`
      [
        "id",
        "tenant",
        "user",
        "completion_id",
        "ts",
        "conversation",
        "policy",
        "chosen",
        "reason",
        "candidates",
        "reading",
        "reader",
        "embedder",
        "embedding",
        "attempts",
        "usage",
        "usage_estimated",
        "cost_usd",
        "ttft_ms",
        "total_ms",
        "overhead_us",
        "finish_reason",
        "status",
        "stream",
        "tools",
        "modalities",
        "key",
        "endpoint",
        "predicted",
        "vouched",
        "text_expires_at",
        "arm",
        "group",
        "baseline_usd",
        "gain",
        "shadow",
      ]
    `)
    const optional = fields.filter(({ schema }) => schema.safeParse(undefined).success).map(({ name }) => name)
    expect(ROW.optional.toSorted()).toEqual(optional.toSorted())
    const flags = fields.filter(({ schema }) => schema.safeParse(true).success).map(({ name }) => name)
    expect(ROW.flags.toSorted()).toEqual(flags.toSorted())
  })

  test('shares with others what does not tell it from them', () => {
    const [one, other] = [anInteraction(), anInteraction({ user: 'u-2', chosen: 'candidate-1', status: 500 })]
    const kept = [one, other].map(sharingRow)
    expect(kept[0]?.shared).toEqual(kept[1]?.shared)
    expect(sharedOf(JSON.parse(kept[0]?.row as string))).toEqual({ id: kept[0]?.shared.id, ts: one.ts })
    expect(sharedOf(JSON.parse(interactionRow(one)))).toBeNull()
    expect(sharedOf({ ...one })).toBeNull()
    for (const different of [{ tenant: 'b' }, { policy: 'p' }, { candidates: NO_CANDIDATES }, { modalities: [] }]) {
      expect(sharingRow(anInteraction(different)).shared.id).not.toBe(kept[0]?.shared.id)
    }
    // Rows are read by this: never change it.
    expect(ROW.shared).toEqual(['tenant', 'policy', 'reader', 'embedder', 'modalities', 'endpoint', 'candidates'])
    expect(() => storedInteraction(JSON.parse(kept[0]?.row as string))).toThrow(/gone/)
    const short = () => storedInteraction(JSON.parse(kept[0]?.row as string), kept[0]?.shared.json, Buffer.alloc(9))
    expect(short).toThrow(/9 bytes beside a row/)
  })

  test('takes less than half of a document', () => {
    const record = anInteraction()
    expect(sharingRow(record).row.length).toBeLessThan(0.45 * interactionRow(record).length)
    expect(interactionRow(record).length).toBeLessThan(0.6 * JSON.stringify(JSON.parse(interactionLine(record))).length)
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
      row: ROW,
      archive: { absent: Object.fromEntries(KINDS.map((kind) => [kind, absentWhereEmpty(kind)])) },
    }
    for (const part of Object.values(schema.$defs)) delete part.$schema
    await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(SCHEMA)
  })

  test('a row and its document, for the Python reader’s test', async () => {
    const record = { ...whole(), id: 'req_1', completionId: 'chatcmpl-1', ts: 1795510000000, text: null }
    const { type: _, ...document } = JSON.parse(interactionLine(record))
    const { row, bytes, shared } = sharingRow(record)
    const pair = {
      row: JSON.parse(interactionRow(record)),
      ...{ sharing: JSON.parse(row), bytes: bytes.toString('base64'), shared: JSON.parse(shared.json), document },
    }
    await expect(`${JSON.stringify(pair)}\n`).toMatchFileSnapshot(ROW_PAIR)
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

const absentWhereEmpty = (kind: Kind) => COLUMNS[kind].filter(({ empty }) => empty === 'absent').map(({ name }) => name)

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
    if (json.anyOf?.[0]?.enum) return `${say(json.anyOf[0])} (or what a later version adds)`
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
