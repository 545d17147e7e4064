import { z } from 'zod'
import type { Usage } from '../../candidates/usage.ts'
import { wellFormedJson } from '../../runtime/well-formed.ts'
import {
  ARMS,
  type Arm,
  type Attempt,
  type GainNote,
  REASONS,
  REWARD_KINDS,
  type Reason,
  type ScoredCandidate,
  type ScoredCandidates,
} from './records.ts'
import { rowForm } from './row.ts'
import {
  type CandidateDocument,
  candidateDocuments,
  candidatesJson,
  columnsCode,
  columnsOf,
  eachCandidate,
  readCandidates,
} from './scored-candidates.ts'
import { type Shared, sharedIdOf, sharing } from './shared-row.ts'

/** How a field of a record is called on disk, what may stand there, and what it means (`docs/records.md`). */
interface Field<N extends string, T> {
  name: N
  schema: z.ZodType<T>
  note: string
}

type Table = Record<string, Field<string, unknown>>

/** A record in memory: its fields, and the types of their schemas. Where a schema may be left out, so may the field. */
type RecordOf<T extends Table> = {
  [K in keyof T as undefined extends TypeIn<T, K> ? never : K]: TypeIn<T, K>
} & { [K in keyof T as undefined extends TypeIn<T, K> ? K : never]?: Exclude<TypeIn<T, K>, undefined> }
type TypeIn<T extends Table, K extends keyof T> = z.output<T[K]['schema']>

/** The same by the names on disk. */
type DocumentOf<T extends Table> = RecordOf<{ [K in keyof T as T[K]['name']]: T[K] }>

type Loose = Record<string, unknown>

const field = <const N extends string, T>(name: N, schema: z.ZodType<T>, note = ''): Field<N, T> => ({
  name,
  schema,
  note,
})

/** What a later version adds is read, and written again as it is. */
const openEnum = (values: readonly string[]) => z.union([z.enum(values), z.string().min(1).max(64)])

const id = z.string().min(1).max(512)
const count = z.number().int().nonnegative()
const unixMs = z.number().int().nonnegative()

const quantised = z.object({ int8: z.base64(), scale: z.number() })

const candidateSchema = z.object({
  name: z.string(),
  mean: z.number().nullable(),
  std: z.number().nullable(),
  predicted_cost_usd: z.number(),
  propensity: z.number().min(0).max(1),
})

const isSound = ({ mean, std, predictedCostUsd, propensity }: ScoredCandidate) =>
  [mean ?? 0, std ?? 0, predictedCostUsd].every(Number.isFinite) && propensity >= 0 && propensity <= 1

/** The numbers are checked as the rows that they stand for: NaN in a column is null. */
const tableSchema = z
  .object({
    names: z.array(z.string()),
    columns: z.array(z.enum(['mean', 'std', 'predicted_cost_usd', 'propensity'])),
    float32: z.base64(),
  })
  .superRefine((document, context) => {
    try {
      const scored = readCandidates(document)
      // In a hundredth of the time, which an archive of millions of rows is read by.
      if (eachCandidate(scored).every(isSound)) return
      const rows = candidateDocuments(scored)
      for (const { path, message } of z.array(candidateSchema).safeParse(rows).error?.issues ?? []) {
        context.addIssue({ code: 'custom', path, message })
      }
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message })
    }
  })

/** A list is what is exported (and was stored by earlier versions), a table what is stored and in memory. */
const candidates = z.union([z.array(candidateSchema), tableSchema]) as unknown as z.ZodType<ScoredCandidates>

const gain: z.ZodType<GainNote> = z.object({
  baseline: z.string(),
  policy: z.string(),
  group: z.enum(['new', 'known', 'regular']),
  weight: z.number(),
  least: z.number(),
  largest: z.number(),
})

const attempt: z.ZodType<Attempt> = z.object({
  candidate: z.string(),
  provider: z.string(),
  status: z.number().int().nullable(),
  error: z.string().nullable(),
  ms: z.number(),
  cost_usd: z.number().optional(),
}) as z.ZodType<Attempt>

const USAGE = {
  promptTokens: field('prompt_tokens', count),
  completionTokens: field('completion_tokens', count),
  cachedTokens: field('cached_tokens', count),
  cacheWriteTokens: field('cache_write_tokens', count),
  reasoningTokens: field('reasoning_tokens', count),
} satisfies { [K in keyof Usage]: Field<string, number> }

/** One row a request, written after the answer ends, however it ends. */
const INTERACTION = {
  id: field('id', id, 'of the request: `x-request-id`'),
  ts: field('ts', unixMs, 'Unix milliseconds'),
  tenant: field('tenant', id, 'the tenant of the key that the request came with'),
  /** As stored: an HMAC unless the tenant asked for plain ids. */
  user: field('user', z.string(), 'as stored: an HMAC, unless the tenant keeps plain ids'),
  conversation: field('conversation', z.string().nullable(), 'as stored, like `user`; null where there is none'),
  /**
   * The query vector, which gives the prompt's words back: of tenants that asked for it alone, sealed (`VectorVault`)
   * where it is stored, int8 values in base64 times `scale` where it is exported.
   */
  embedding: field(
    'embedding',
    z.union([quantised, z.object({ sealed: z.base64() })]).nullable(),
    'the query vector: signed bytes, times `scale`; null unless the tenant asked for it (`training: vectors`). In the store it is sealed',
  ),
  embedder: field('embedder', z.string(), 'version of the embedder'),
  /** What the artifact read in the query: what learning needs. It doesn't give words back. */
  reading: field(
    'reading',
    quantised.nullable().optional(),
    'what the artifact read in the query (kinds of tasks, difficulty, length): signed bytes, times `scale`; null where no graph ranked',
  ),
  /** The manifest's `reader`: under another one a reading means nothing. */
  reader: field('reader', z.string().optional(), 'version of the reader, from the manifest'),
  /** Only if the tenant opted in. Kept apart from the log row, so that it can go earlier. */
  text: field('text', z.string().nullable(), 'the prompt, where the tenant keeps it; else null'),
  /** Unix milliseconds at which `text` is deleted; with the row where left out. */
  textExpiresAt: field(
    'text_expires_at',
    unixMs.optional(),
    'Unix milliseconds; only where text is kept for a time of its own',
  ),
  candidates: field(
    'candidates',
    candidates,
    'those that passed the filters; `mean` and `std` are null where a fallback router chose. Numbers are float32, in as many decimals as it takes to tell them apart (up to nine digits). Propensities sum to 1 within 1e-6; those of 0 and 1 are exactly that',
  ),
  /** Artifact version. */
  policy: field('policy', z.string(), 'version of the artifact, or name of the fallback'),
  /** The candidate that answered in the end; the first choice where none did. */
  chosen: field('chosen', z.string(), 'the candidate that answered in the end; the first choice where none did'),
  reason: field('reason', openEnum(REASONS) as z.ZodType<Reason>, 'as in `x-router-reason`'),
  attempts: field(
    'attempts',
    z.array(attempt),
    'each try: `status` is null when none came, `error` when it worked; `cost_usd` where there was more to pay for than the answer: as its provider counted, else at most so much',
  ),
  usage: field('usage', nested(USAGE) as z.ZodType<Usage>, 'tokens, as the provider counted them'),
  usageEstimated: field('usage_estimated', z.boolean(), 'the provider did not say: counted by us'),
  costUsd: field('cost_usd', z.number(), 'at the prices of that time'),
  ttftMs: field('ttft_ms', z.number().nullable(), 'until the first byte went to the client'),
  totalMs: field('total_ms', z.number(), 'until the last'),
  overheadUs: field('overhead_us', z.number(), "the gateway's own time"),
  /** `stop`, `length`, `tool_calls`, …; `error` or `aborted` where the answer did not end by itself. */
  finishReason: field(
    'finish_reason',
    z.string(),
    'how the answer ended; `error` or `aborted` where it did not end by itself',
  ),
  /** HTTP status that the client saw. */
  status: field('status', z.number().int(), 'the HTTP status that the client saw'),
  stream: field('stream', z.boolean(), 'the answer was streamed'),
  tools: field('tools', z.boolean(), 'the request offered tools'),
  modalities: field('modalities', z.array(z.string()), 'of the request'),
  /** The provider's id of the completion, by which feedback may name it. */
  completionId: field('completion_id', z.string().nullable(), "the provider's id of the completion"),
  /** Id of the key that the request came with. */
  key: field('key', z.string().optional(), 'id of the key that the request came with'),
  /** Somebody answers for the user's name: a bound key, a signed token, the operator. */
  vouched: field(
    'vouched',
    z.boolean().optional(),
    "somebody answers for the user's name: a key bound to them, a signed token, the operator (docs/learning.md)",
  ),
  /** Name of the API that the client spoke. */
  endpoint: field('endpoint', z.string().optional(), 'which API it spoke: `chat`, `responses`, `messages`, …'),
  /** What chose: the router, the baseline (for a while, or for good: a user who is held out), what the user stated. */
  arm: field(
    'arm',
    (openEnum(ARMS) as z.ZodType<Arm>).optional(),
    'what chose: `route`, `baseline` or `holdout` (`router.baseline`); `stated` by the user, also where another answered as that one failed',
  ),
  /** Of users, by what was known of them. */
  group: field(
    'group',
    z.enum(['new', 'known', 'regular']).optional(),
    'users by the rewards known of them: `new` (none), `known` (less than 20), `regular`; only where there is a baseline',
  ),
  /** Of the one that answered; left out where no graph ranked. */
  predicted: field(
    'predicted',
    z.object({ quality: z.number(), completion_tokens: z.number() }).optional(),
    'of the candidate that answered: how good (0 to 1) and how long its answer was expected to be',
  ),
  /** Dollars that the baseline would have cost for the same tokens; null where there is none. */
  baselineUsd: field(
    'baseline_usd',
    z.number().nullable().optional(),
    'what the baseline would have cost for the same tokens, in a conversation with its prompt in the cache',
  ),
  /** What a rating tells of the router's gain; null where it tells nothing. */
  gain: field(
    'gain',
    gain.nullable().optional(),
    "what a rating of this answer tells of the router's gain: importance weight of the answer, its least and largest value; null where it tells nothing",
  ),
  /** Scores of a shadow policy, where one runs. */
  shadow: field(
    'shadow',
    z.object({ policy: z.string(), candidates }).optional(),
    'what a shadow policy would have chosen by; only where one ran',
  ),
}

/** What somebody or something thought of an answer; a row of its own, joined by `interaction`. */
const REWARD = {
  interaction: field('interaction', id, 'its `id`'),
  tenant: field('tenant', id, 'of the interaction'),
  user: field('user', z.string(), 'the user who said so, as stored'),
  kind: field('kind', z.enum(REWARD_KINDS), 'where it comes from: docs/learning.md'),
  /** -1 … 1. */
  value: field('value', z.number().min(-1).max(1), 'bad … good'),
  /** Factor on the kind's precision. */
  weight: field('weight', z.number().nonnegative(), "factor on the kind's precision"),
  /** A thumb is a yes or no, a number is a measurement: the model treats them differently. */
  binary: field('binary', z.boolean(), 'a thumb, not a measurement'),
  ts: field('ts', unixMs, 'Unix milliseconds'),
  /** When the request began that it is about: a user erased since then has no reward. */
  askedAt: field('asked_at', unixMs.optional(), 'when the request began that it is about, Unix milliseconds'),
  preferredModel: field('preferred_model', z.string().nullable(), 'the candidate that the user would rather have had'),
  comment: field('comment', z.string().nullable(), "the user's own words"),
}

/** Docs, JSON schema and columns of archives are made of it. */
export const TABLES = { interaction: INTERACTION, reward: REWARD }

export interface InteractionRecord extends RecordOf<typeof INTERACTION> {}
export interface RewardRecord extends RecordOf<typeof REWARD> {}

/** As exported. */
export interface InteractionDocument extends Omit<DocumentOf<typeof INTERACTION>, 'usage' | 'candidates' | 'shadow'> {
  usage: DocumentOf<typeof USAGE>
  candidates: CandidateDocument[]
  shadow?: { policy: string; candidates: CandidateDocument[] }
}
export interface RewardDocument extends DocumentOf<typeof REWARD> {}

/** As stored: candidates are a table, or (by earlier versions) as exported. */
export interface StoredInteraction extends Omit<InteractionDocument, 'candidates' | 'shadow'> {
  candidates: ScoredCandidates | CandidateDocument[]
  shadow?: { policy: string; candidates: ScoredCandidates | CandidateDocument[] }
}

function schemaOf(table: Table) {
  return z.object(Object.fromEntries(Object.values(table).map(({ name, schema }) => [name, schema])))
}

function nested<T extends Table>(table: T): z.ZodType<RecordOf<T>> {
  return schemaOf(table) as unknown as z.ZodType<RecordOf<T>>
}

/** Documents that come from a file, hence from anywhere: exported, or as a spool has them. */
export const interactionSchema = schemaOf(INTERACTION) as unknown as z.ZodType<StoredInteraction>
export const rewardSchema = schemaOf(REWARD) as unknown as z.ZodType<RewardDocument>

/**
 * Makes a document of a record, in the order of its table, as if it had been written out by hand: a loop over the table
 * takes 2.5 us more (docs/profile.md). The names are those above. What a record leaves out is undefined.
 */
function writerOf(table: Table): (record: object) => Loose {
  const literal = (fields: Table, record: string): string => {
    const values = Object.entries(fields).map(([key, { name }]) => {
      const value = `${record}.${key}`
      return `${JSON.stringify(name)}: ${key === 'usage' ? literal(USAGE, value) : value}`
    })
    return `{ ${values.join(', ')} }`
  }
  return new Function('record', `return ${literal(table, 'record')}`) as (record: object) => Loose
}

/** Candidates are written by themselves. */
const { candidates: _, shadow: __, ...PLAIN } = INTERACTION
const plainDocument = writerOf(PLAIN)
const wholeDocument = writerOf(INTERACTION)
const rewardDocument = writerOf(REWARD)

function recordOf(document: Loose, entries: readonly Entry[]): Loose {
  const record: Loose = {}
  for (const [key, name] of entries) {
    const value = document[name]
    if (value !== undefined) record[key] = value
  }
  return record
}

/** In memory, on disk. */
type Entry = readonly [key: string, name: string]
const entriesOf = (table: Table): Entry[] => Object.entries(table).map(([key, { name }]) => [key, name])

const USAGE_ENTRIES = entriesOf(USAGE)
const REWARD_ENTRIES = entriesOf(REWARD)
const INTERACTION_ENTRIES = entriesOf(INTERACTION)

/** JSON of each record that is on its way: the spool and the store need the same text. */
const known = new WeakMap<InteractionRecord | RewardRecord, string>()

/** A record as it is stored, text included. Made once a record: don't change it afterwards. */
function interactionJson(record: InteractionRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = storedJson(record, plainDocument(record))
    known.set(record, json)
  }
  return json
}

/** As the spool has it, without the prompt's text: that is kept apart, to be deleted earlier. */
export function interactionJsonWithoutText(record: InteractionRecord): string {
  if (record.text === null) return interactionJson(record)
  return storedJson(record, { ...plainDocument(record), text: null })
}

function storedJson({ candidates, shadow, embedding }: InteractionRecord, plain: Loose): string {
  // A vector in clear is never stored.
  if (embedding && 'int8' in embedding) plain.embedding = null
  const would = shadow
    ? `,"shadow":{"policy":${JSON.stringify(shadow.policy)},"candidates":${candidatesJson(shadow.candidates)}}`
    : ''
  return `${wellFormedJson(plain).slice(0, -1)},"candidates":${candidatesJson(candidates)}${would}}`
}

export function rewardJson(record: RewardRecord): string {
  let json = known.get(record)
  if (json === undefined) {
    json = wellFormedJson(rewardDocument(record))
    known.set(record, json)
  }
  return json
}

/** One line of a spool: the document as stored, and before it what it is. */
export const interactionLine = (record: InteractionRecord) =>
  `{"type":"interaction",${interactionJson(record).slice(1)}`
/**
 * A record as a row: a list of its values, which Redis keeps, in a third of the bytes. Without the prompt's text.
 * `ROW.names` only ever grows, at its end.
 *
 * @internal docs and the Python reader are made of it in a test
 */
export const ROW = {
  names: [
    ...['id', 'tenant', 'user', 'completion_id', 'ts', 'conversation', 'policy', 'chosen', 'reason', 'candidates'],
    ...['reading', 'reader', 'embedder', 'embedding', 'attempts', 'usage', 'usage_estimated', 'cost_usd', 'ttft_ms'],
    ...['total_ms', 'overhead_us', 'finish_reason', 'status', 'stream', 'tools', 'modalities', 'key', 'endpoint'],
    ...['predicted', 'vouched', 'text_expires_at', 'arm', 'group', 'baseline_usd', 'gain', 'shadow'],
  ],
  optional: [
    ...['reading', 'reader', 'key', 'endpoint', 'predicted', 'vouched', 'text_expires_at', 'arm', 'group'],
    ...['baseline_usd', 'gain', 'shadow'],
  ],
  flags: ['usage_estimated', 'stream', 'tools', 'vouched'],
  nested: {
    candidates: ['names', 'columns', 'float32'],
    reading: ['int8', 'scale'],
    usage: Object.values(USAGE).map(({ name }) => name),
    predicted: ['quality', 'completion_tokens'],
    gain: ['baseline', 'policy', 'group', 'weight', 'least', 'largest'],
  },
  lists: { attempts: ['candidate', 'provider', 'status', 'error', 'ms', 'cost_usd'] },
  /** What rows of a tenant have in common, which is kept once: the order can't change. */
  shared: ['tenant', 'policy', 'reader', 'embedder', 'modalities', 'endpoint', 'candidates'],
}
const { rowOf, documentOf } = rowForm(ROW)
const { shorten, lengthen } = sharing(ROW)

function rowOfRecord(record: InteractionRecord): unknown[] {
  const { candidates, shadow, embedding } = record
  const document = plainDocument(record)
  document.candidates = { ...candidates, columns: columnsCode(candidates) }
  if (shadow) document.shadow = shadow
  if (embedding && 'int8' in embedding) document.embedding = null
  return rowOf(document)
}

/** A row by itself, as the version before reads it. */
export const interactionRow = (record: InteractionRecord): string => wellFormedJson(rowOfRecord(record))

/** A row without what it shares with others, and its numbers beside it: half of the bytes. */
export function sharingRow(record: InteractionRecord): { row: string; bytes: Buffer; shared: Shared } {
  const { row, bytes, shared } = shorten(rowOfRecord(record))
  return { row: wellFormedJson(row), bytes, shared }
}

/** What a store has kept, out of JSON: a document, or a row. */
type Kept = object | unknown[]

/** Where else what it shares lies: by its name and the row's time; null = it shares nothing. */
export function sharedOf(kept: Kept): { id: string; ts: number } | null {
  const id = Array.isArray(kept) ? sharedIdOf(kept) : null
  return id === null ? null : { id, ts: (kept as unknown[])[TS_AT] as number }
}
const NO_BYTES = Buffer.alloc(0)
const TS_AT = ROW.names.indexOf('ts')

/**
 * @param shared what a row shares, where it does
 * @param bytes beside it
 * @throws Error for what is neither a document nor a row
 */
export function storedInteraction(
  kept: Kept,
  shared: string | null = null,
  bytes: Buffer = NO_BYTES,
): StoredInteraction {
  if (!Array.isArray(kept)) return kept as StoredInteraction
  if (shared === null && sharedIdOf(kept) !== null) throw new Error(`what a row shares is gone: ${sharedIdOf(kept)}`)
  const document = documentOf(shared === null ? kept : lengthen(kept, bytes, shared)) as unknown as StoredInteraction
  const candidates = document.candidates as ScoredCandidates
  return { ...document, text: null, candidates: { ...candidates, columns: columnsOf(candidates.columns) } }
}

/** One line of either. */
export const rewardLine = (record: RewardRecord) => `{"type":"reward",${rewardJson(record).slice(1)}`

/** One line of an export: candidates one by one. */
export const exportedLine = (record: InteractionRecord) =>
  `{"type":"interaction",${JSON.stringify(exportedInteraction(record)).slice(1)}`

/** As exported; what a record leaves out is undefined. */
export function exportedInteraction(record: InteractionRecord): Loose {
  const { candidates, shadow } = record
  const document = wholeDocument(record)
  document.candidates = candidateDocuments(candidates)
  if (shadow) document.shadow = { policy: shadow.policy, candidates: candidateDocuments(shadow.candidates) }
  return document
}

/** As exported; what a record leaves out is undefined. */
export const exportedReward = (record: RewardRecord): Loose => rewardDocument(record)

/**
 * The way back, of what was stored or exported. `text`: where it was kept apart.
 *
 * @throws Error when the candidates can't be read
 */
export function readInteraction(document: StoredInteraction, text?: string | null): InteractionRecord {
  const record = inMemory(recordOf(document as unknown as Loose, INTERACTION_ENTRIES)) as unknown as InteractionRecord
  if (text !== undefined) record.text = text
  return record
}

/** Its nested fields, too, of those that are there. */
function inMemory(record: Loose): Loose {
  const { usage, candidates: scored, shadow } = record as unknown as Partial<InteractionRecord>
  if (usage) record.usage = recordOf(usage as unknown as Loose, USAGE_ENTRIES)
  if (scored) record.candidates = readCandidates(scored as ScoredCandidates | CandidateDocument[])
  if (shadow) record.shadow = { policy: shadow.policy, candidates: readCandidates(shadow.candidates) }
  return record
}

/**
 * A reader of some fields of records alone.
 *
 * @returns what throws a ZodError where one of these fields is not what it should be
 */
export function readerOf(kind: 'interaction' | 'reward', fields: readonly string[]): (document: object) => Loose {
  const table: Table = TABLES[kind]
  const some = Object.fromEntries(Object.entries(table).filter(([key]) => fields.includes(key)))
  const [schema, entries] = [schemaOf(some), entriesOf(some)]
  return (document) => inMemory(recordOf(schema.parse(document), entries))
}

/** What fields are called in a document. */
export const namesOf = (kind: 'interaction' | 'reward', fields: readonly string[]): string[] =>
  Object.entries(TABLES[kind] as Table).flatMap(([key, { name }]) => (fields.includes(key) ? [name] : []))

export const readReward = (document: RewardDocument): RewardRecord =>
  recordOf(document as unknown as Loose, REWARD_ENTRIES) as unknown as RewardRecord
