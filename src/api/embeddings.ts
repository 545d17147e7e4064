import { z } from 'zod'
import { resolveEmbeddingModel } from '../candidates/embedding-models.ts'
import type { UserIds } from '../candidates/tenants.ts'
import { type GatewayError, invalidRequest } from '../errors.ts'
import type { NativeRequest } from '../openai/chat.ts'
import { asAsked, embeddingsAnswer, readEmbeddings } from '../openai/embeddings-answer.ts'
import { errorBody } from '../openai/error.ts'
import { estimateTokens } from '../openai/estimate-tokens.ts'
import { fieldError } from '../openai/parse-chat.ts'
import { parseThread } from '../openai/parse-thread.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import { SseObserver } from '../openai/sse-observer.ts'
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
  const format = body.encoding_format ?? 'float'
  const asked = { inputs: inputsOf(body.input), format, dimensions: body.dimensions ?? null }
  // What is left to do to the answer that was read.
  let finish = (body: Buffer) => body
  let otherLength: number | null = null
  const read = (json: unknown) => {
    const found = readEmbeddings(json, asked)
    finish = (body) => asAsked(body, format, found.isInPlace)
    otherLength = found.otherLength
    return found.facts
  }
  const readLarge = async (answer: Buffer<ArrayBuffer>, tenant: string) => {
    finish = (body) => body
    const { body, told } = await parseThread.convert(embeddingsAnswer, answer, asked, tenant)
    otherLength = told.otherLength
    return { facts: told.facts, body }
  }
  const refusal = () => (otherLength === null ? null : otherDimensions(body, otherLength))
  const native: NativeRequest = { api: 'embeddings', raw, spans, read, readLarge, observe: neverStreamed }
  const request = {
    body: { model: body.model, messages: [], max_tokens: 0 },
    raw,
    spans,
    promptTokens: tokensOf(body.input),
    native,
  }
  return unroutedCall('embeddings', principal, candidate, request, () => writerFor((body) => finish(body), refusal))
}

/** A model that can't shorten its vectors: OpenAI's own refuse that so; some servers pass it by. */
const otherDimensions = ({ model, dimensions }: EmbeddingsBody, length: number): GatewayError =>
  invalidRequest(
    `The model '${model}' does not follow 'dimensions': ${dimensions} were asked for, its vectors have ${length}. ` +
      `Leave 'dimensions' out, or ask for ${length}.`,
    'dimensions',
    'dimensions_not_followed',
  )

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

/** @param refusal of an answer that is not what was asked for: it is billed and recorded, and not told */
const writerFor = (finish: (body: Buffer) => Buffer, refusal: () => GatewayError | null): AnswerWriter => ({
  plain(answer) {
    if (answer.status >= 400) return answer.body
    const error = refusal()
    if (!error) return finish(answer.body)
    answer.status = error.status
    return Buffer.from(errorBody(error))
  },
  stream() {
    throw new Error('embeddings are not streamed')
  },
})
