import type { IncomingMessage } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type ModelChoice, resolveModel, type UserIds } from '../candidates/tenants.ts'
import { invalidRequest } from '../errors.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { LARGE_BYTES } from '../openai/parse-thread.ts'
import { deploymentOf } from './address.ts'
import type { RequestContext } from './context.ts'
import { type Turn, turnOf } from './conversation.ts'
import type { ChatCall, Endpoint } from './endpoint.ts'
import { headerText, idOf, type Principal, principalOf } from './principal.ts'

/** A valid request: its messages, on whose behalf, of which models, where in which conversation. */
export interface Call {
  endpoint: Endpoint
  /** The client's bytes. */
  raw: Uint8Array
  request: ChatRequest
  writer: ChatCall['writer']
  principal: Principal
  knobs: Knobs
  model: ModelChoice
  turn: Turn
  /** Stored id of the conversation that the client named, or null. */
  conversation: string | null
  /** Stored id of the message that the client named, or null. */
  message: string | null
}

/** Wishes of a request for its own routing. They come in headers, so that typed SDKs can send them. */
export interface Knobs {
  /** 0..1: overrides the learned trade-off between quality (0) and cost (1). */
  costWeight?: number
  maxCostUsd?: number
  maxLatencyMs?: number
  allow?: readonly string[]
  deny?: readonly string[]
  conversation: string | null
  explore: boolean
  /** No field of the request may be left off. */
  strict: boolean
  /** The field of a chat completion in which its client reads thoughts. */
  thoughtsAs?: 'reasoning' | 'reasoning_content'
}

/** @throws GatewayError 400, 401, 404 */
export async function parseCall(
  context: RequestContext,
  userIds: UserIds,
  endpoint: Endpoint,
  body: Buffer,
): Promise<Call> {
  const { snapshot, incoming } = context
  // Of what is large, each step takes tens of milliseconds: others have their turn between.
  const pause = body.length > LARGE_BYTES ? nextTurn : null
  await pause?.()
  const { raw, names, toChat } = endpoint.read(body, deploymentOf(incoming))
  const principal = principalOf(snapshot, userIds, context.caller, incoming, names)
  const knobs = readKnobs(incoming, snapshot.config.identity.conversation_headers)
  const model = resolveModel(names.model, principal.allowed, principal.tenant.aliases)
  const { identity } = snapshot.config
  const asked = toChat(context, principal, model.candidates)
  const { request: given, writer, turnKey, inToolLoop } = asked instanceof Promise ? await asked : asked
  const request = knobs.thoughtsAs === undefined ? given : { ...given, thoughtsAs: knobs.thoughtsAs }
  const cacheKey = identity.prompt_cache_key ? idFrom(request.body.prompt_cache_key) : null
  const named = knobs.conversation ?? names.conversation ?? cacheKey
  const conversation = userIds.conversation(principal.tenant.config, principal.user, named)
  await pause?.()
  const turn = turnOf(request.body.messages, principal.user, conversation ?? turnKey ?? null, named)
  await pause?.()
  return {
    endpoint,
    raw,
    request,
    writer,
    principal,
    knobs,
    model,
    turn: inToolLoop ? { ...turn, toolLoop: true } : turn,
    conversation,
    message: userIds.message(principal.tenant.config, principal.user, idOf(incoming, identity.message_headers)),
  }
}

/** Sessions of coding agents have such keys; a word of the app's own stands for all of its conversations. */
const CACHE_KEY_ID = /^(?=.*\d)[\w.:-]{16,256}$/

const idFrom = (cacheKey: unknown): string | null =>
  typeof cacheKey === 'string' && CACHE_KEY_ID.test(cacheKey) ? cacheKey : null

/** @throws GatewayError 400 with the header as `param` */
function readKnobs(request: IncomingMessage, conversationHeaders: readonly string[]): Knobs {
  const costWeight = number(request, 'x-router-cost-weight', 0, 1)
  const maxCostUsd = number(request, 'x-router-max-cost-usd', 0, Number.MAX_VALUE)
  const maxLatencyMs = number(request, 'x-router-max-latency-ms', 0, Number.MAX_VALUE)
  const allow = list(request, 'x-router-allow')
  const deny = list(request, 'x-router-deny')
  const explore = headerText(request, 'x-router-explore')?.toLowerCase()
  if (explore !== undefined && explore !== 'on' && explore !== 'off') {
    throw invalidRequest(`Invalid 'x-router-explore': expected 'on' or 'off'.`, 'x-router-explore')
  }
  const strict = headerText(request, 'x-router-strict')?.toLowerCase()
  if (strict !== undefined && strict !== 'on' && strict !== 'off') {
    throw invalidRequest(`Invalid 'x-router-strict': expected 'on' or 'off'.`, 'x-router-strict')
  }
  const thoughtsAs = headerText(request, 'x-router-thoughts')?.toLowerCase()
  if (thoughtsAs !== undefined && thoughtsAs !== 'reasoning' && thoughtsAs !== 'reasoning_content') {
    throw invalidRequest(
      `Invalid 'x-router-thoughts': expected 'reasoning' or 'reasoning_content'.`,
      'x-router-thoughts',
    )
  }
  const conversation = idOf(request, conversationHeaders)
  return {
    ...(costWeight !== undefined && { costWeight }),
    ...(maxCostUsd !== undefined && { maxCostUsd }),
    ...(maxLatencyMs !== undefined && { maxLatencyMs }),
    ...(allow && { allow }),
    ...(deny && { deny }),
    conversation,
    explore: explore !== 'off',
    strict: strict === 'on',
    ...(thoughtsAs && { thoughtsAs }),
  }
}

/** Decimal numbers alone: JavaScript would also take `0x10` and `Infinity`. */
const DECIMAL = /^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i

function number(request: IncomingMessage, header: string, min: number, max: number): number | undefined {
  const text = headerText(request, header)
  if (text === undefined) return undefined
  const value = DECIMAL.test(text.trim()) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max)) {
    throw invalidRequest(
      `Invalid '${header}': expected a number ${max === 1 ? 'from 0 to 1' : 'of 0 or more'}.`,
      header,
    )
  }
  return value
}

function list(request: IncomingMessage, header: string): string[] | undefined {
  const names = headerText(request, header)
    ?.split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')
  return names?.length ? names : undefined
}
