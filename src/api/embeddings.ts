import { z } from 'zod'
import { resolveEmbeddingModel } from '../candidates/embedding-models.ts'
import type { UserIds } from '../candidates/tenants.ts'
import type { NativeRequest } from '../openai/chat.ts'
import { parseJson } from '../openai/error.ts'
import { estimateTokens } from '../openai/estimate-tokens.ts'
import { isObject } from '../openai/is-object.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { SseObserver } from '../openai/sse-observer.ts'
import { parseUsage } from '../openai/usage.ts'
import { deploymentOf } from '../pipeline/address.ts'
import type { Call } from '../pipeline/call.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { principalOf } from '../pipeline/principal.ts'
import { completeUnrouted, type UnroutedDeps, unroutedCall } from '../pipeline/unrouted.ts'
import type { AnswerWriter } from '../providers/relay/writer.ts'
import { readJsonBody } from './body.ts'

const token = z.number().int().nonnegative()
const schema = z.looseObject({
  model: z.string().min(1).max(256),
  input: z.union([
    z.string().min(1),
    z.array(z.string()).min(1),
    z.array(token).min(1),
    z.array(z.array(token).min(1)).min(1),
  ]),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().positive().nullish(),
  user: z.string().nullish(),
})

type EmbeddingsBody = z.output<typeof schema>

/**
 * `POST /v1/embeddings`: of a configured model, which the request names. Nothing is chosen or learned; limits, records
 * and the provider's bytes are as everywhere.
 *
 * @throws GatewayError while nothing has been sent
 */
export async function embed(deps: UnroutedDeps & { userIds: UserIds }, context: RequestContext): Promise<void> {
  const raw = await readJsonBody(context)
  await completeUnrouted(deps, context, callOf(context, deps.userIds, raw))
}

function callOf(context: RequestContext, userIds: UserIds, raw: Buffer): Call {
  const { snapshot, caller, incoming } = context
  const { json, spans } = parseRawBody(raw)
  const deployment = deploymentOf(incoming)
  if (deployment !== undefined) json.model = deployment
  const parsed = schema.safeParse(json)
  if (!parsed.success) throw fieldError(parsed.error.issues[0])
  const body = parsed.data
  const principal = principalOf(snapshot, userIds, caller, incoming, body)
  const wanted = [principal.tenant.config.candidates, ...(caller.models ? [caller.models] : [])]
  const candidate = resolveEmbeddingModel(snapshot.embeddingModels, body.model, wanted)
  const inputs = inputsOf(body.input)
  let isInPlace = true
  const read = (json: unknown) => {
    isInPlace = isObject(json) && Array.isArray(json.data) && json.data.every((row, at) => row?.index === at)
    return factsOf(json, inputs)
  }
  const native: NativeRequest = { api: 'embeddings', raw, spans, read, observe: neverStreamed }
  const request = {
    body: { model: body.model, messages: [], max_tokens: 0 },
    raw,
    spans,
    promptTokens: tokensOf(body.input),
    native,
  }
  const writer = () => writerFor(body.encoding_format ?? 'float', () => isInPlace)
  return unroutedCall('embeddings', principal, candidate, request, writer)
}

const neverStreamed = () => new SseObserver({ dropUsage: false })

function tokensOf(input: EmbeddingsBody['input']): number {
  if (typeof input === 'string') return estimateTokens(Buffer.byteLength(input))
  return input.reduce<number>((sum, part) => {
    if (typeof part === 'number') return sum + 1
    return sum + (typeof part === 'string' ? estimateTokens(Buffer.byteLength(part)) : part.length)
  }, 0)
}

/** A text, or a list of tokens, is one. */
const inputsOf = (input: EmbeddingsBody['input']): number =>
  typeof input === 'string' || typeof input[0] === 'number' ? 1 : input.length

/** Null where some input has no vector: nobody could tell which. */
function factsOf(json: unknown, inputs: number) {
  if (!isObject(json) || !Array.isArray(json.data) || json.data.length !== inputs) return null
  if (!json.data.every((item) => isObject(item) && isVector(item.embedding))) return null
  return { usage: parseUsage(json.usage), finishReason: 'stop', completionId: null, outputChars: 0 }
}

/** An object: sparse ones, or several kinds at once. */
const isVector = (embedding: unknown) =>
  Array.isArray(embedding) || typeof embedding === 'string'
    ? embedding.length > 0
    : isObject(embedding) && Object.keys(embedding).length > 0

/**
 * Some servers know one format alone; the official SDKs ask for base64 and take nothing else for it. Others tell
 * vectors in an order of their own, or without their places: clients read them one by one.
 */
const writerFor = (format: 'float' | 'base64', isInPlace: () => boolean): AnswerWriter => ({
  plain({ status, body }) {
    const isOtherFormat = isOther(body, format)
    if (status >= 400 || (isInPlace() && !isOtherFormat)) return body
    const json = parseJson(body)
    if (!isObject(json) || !Array.isArray(json.data)) return body
    const rows = inPlace(json.data.filter(isObject))
    const data = isOtherFormat ? rows.map((row) => ({ ...row, embedding: converted(row.embedding) })) : rows
    return Buffer.from(JSON.stringify({ ...json, data }))
  },
  stream() {
    throw new Error('embeddings are not streamed')
  },
})

type Row = Record<string, unknown>

/** By their places, or, where those are missing or make no sense, as they came. */
function inPlace(rows: Row[]): Row[] {
  const isPlaced = new Set(rows.map(({ index }) => index)).size === rows.length
  const sorted = isPlaced && rows.every(({ index }) => Number.isInteger(index)) ? rows.toSorted(byIndex) : rows
  return sorted.map((row, index) => ({ ...row, index }))
}

const byIndex = (a: Row, b: Row) => Number(a.index) - Number(b.index)

const FIRST = /"embedding"\s*:\s*(["[])/
const HEAD_BYTES = 4_096

const isOther = (body: Buffer, format: 'float' | 'base64') => {
  const mark = FIRST.exec(body.toString('latin1', 0, HEAD_BYTES))?.[1]
  return mark !== undefined && (mark === '"') !== (format === 'base64')
}

/** Little-endian float32 in base64, or numbers: each becomes the other. What is of another kind has one form alone. */
function converted(embedding: unknown): unknown {
  if (Array.isArray(embedding) && embedding.every((value) => typeof value === 'number'))
    return Buffer.from(Float32Array.from(embedding).buffer).toString('base64')
  if (typeof embedding !== 'string') return embedding
  const bytes = Buffer.from(embedding, 'base64')
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(4 * index))
}
