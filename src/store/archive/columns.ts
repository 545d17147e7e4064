import { z } from 'zod'
import {
  exportedInteraction,
  exportedReward,
  type InteractionRecord,
  interactionSchema,
  type RewardRecord,
  readerOf,
  readInteraction,
  readReward,
  rewardSchema,
  TABLES,
} from '../records/codec.ts'

export type Kind = 'interaction' | 'reward'
export const KINDS: readonly Kind[] = ['interaction', 'reward']

/** A record of either kind. */
export type Row<K extends Kind> = K extends 'interaction' ? InteractionRecord : RewardRecord

/**
 * A column of an archive: a field of `docs/records.md` under its name. What is no scalar is JSON.
 */
export interface Column {
  name: string
  type: 'STRING' | 'INT64' | 'DOUBLE' | 'BOOLEAN'
  isJson: boolean
  /** What an empty cell stands for: null, or that the field is left out. Where JSON may be either, null is written. */
  empty: 'null' | 'absent'
}

/** What stands in a column, by row. */
export type Cell = string | bigint | number | boolean | null

const SCALARS: Record<string, Column['type']> = {
  string: 'STRING',
  integer: 'INT64',
  number: 'DOUBLE',
  boolean: 'BOOLEAN',
}

/** A prompt goes earlier than its row: it is not archived. */
const LEFT_OUT = new Set(['text', 'text_expires_at'])

export const COLUMNS: Record<Kind, readonly Column[]> = {
  interaction: columnsOf(TABLES.interaction),
  reward: columnsOf(TABLES.reward),
}

function columnsOf(table: Record<string, { name: string; schema: z.ZodType }>): Column[] {
  return Object.values(table)
    .filter(({ name }) => !LEFT_OUT.has(name))
    .map(({ name, schema }) => {
      const types = typesOf(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }))
      const [only, ...others] = types.filter((type) => type !== 'null')
      const type = others.length === 0 && only !== undefined ? SCALARS[only] : undefined
      const [mayBeNull, mayBeAbsent] = [null, undefined].map((value) => schema.safeParse(value).success)
      const isJson = type === undefined
      const empty = mayBeNull && !(isJson && mayBeAbsent) ? 'null' : 'absent'
      return { name, type: type ?? 'STRING', isJson, empty }
    })
}

function typesOf({ type, anyOf }: { type?: unknown; anyOf?: unknown }): string[] {
  if (Array.isArray(anyOf)) return [...new Set(anyOf.flatMap(typesOf))]
  return Array.isArray(type) ? type : typeof type === 'string' ? [type] : ['?']
}

type Loose = Record<string, unknown>

/** A record as it is exported, without a prompt; a vector stays sealed. What is left out is undefined. */
export function documentOf(kind: Kind, row: InteractionRecord | RewardRecord): Loose {
  if (kind === 'reward') return exportedReward(row as RewardRecord)
  const document = exportedInteraction(row as InteractionRecord)
  document.text = null
  document.text_expires_at = undefined
  return document
}

/** @throws ZodError where an archive holds what is no record */
export function rowOf<K extends Kind>(kind: K, document: Loose): Row<K> {
  const row =
    kind === 'interaction'
      ? readInteraction(interactionSchema.parse({ text: null, ...document }))
      : readReward(rewardSchema.parse(document))
  return row as Row<K>
}

/** As `rowOf`, of some fields alone; all where left out. */
export function rowsOf<K extends Kind>(kind: K, fields?: readonly string[]): (document: Loose) => Row<K> {
  return fields
    ? (readerOf(kind, fields) as (document: Loose) => unknown as (document: Loose) => Row<K>)
    : (document) => rowOf(kind, document)
}

/** What tells a record from all others of its tenant. */
export const identityOf = (kind: Kind, document: Loose): string =>
  kind === 'interaction'
    ? String(document.id)
    : `${document.interaction}\n${document.user}\n${document.kind}\n${document.ts}`

/** Fields of `identityOf`. */
export const IDENTITY: Record<Kind, string[]> = {
  interaction: ['id'],
  reward: ['interaction', 'user', 'kind', 'ts'],
}
