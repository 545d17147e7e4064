import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Candidate } from '../../candidates/candidate.ts'
import type { ResponsesConfig } from '../../config/schema.ts'
import { GatewayError, invalidRequest } from '../../errors.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { promptTokensOf } from '../../openai/parse-chat.ts'
import { LARGE_BYTES } from '../../openai/parse-thread.ts'
import { MAX_VALUES } from '../../openai/raw-body.ts'
import { parseResponses, type ResponsesRequest } from '../../openai/responses/body.ts'
import type { InputItem } from '../../openai/responses/items.ts'
import { responseText } from '../../openai/responses/text.ts'
import type { ThoughtSeal } from '../../openai/responses/thoughts.ts'
import { type ChatVersion, type Conversation, type Told, told, written } from '../../openai/responses/to-chat.ts'
import { truncated } from '../../openai/responses/truncate.ts'
import { responsesErrorBody } from '../../openai/responses/words.ts'
import { type Quoted, quotedIn } from '../../openai/serialised.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import type { ChatCall, Endpoint } from '../../pipeline/endpoint.ts'
import type { Principal } from '../../pipeline/principal.ts'
import { answerWriter } from './answer.ts'
import { alone, refers, type WholeConversation, wholeConversation } from './conversation.ts'
import type { ResponsesDeps } from './deps.ts'
import { heldBy } from './kept.ts'
import { nativeFor } from './native.ts'
import { thoughtSeal } from './thoughts.ts'

/** `POST /v1/responses`: the Open Responses specification, and what OpenAI's clients rely on beyond it. */
export const responsesEndpoint = (deps: ResponsesDeps): Endpoint => ({
  name: 'responses',
  read(raw, model) {
    const request = parseResponses(raw)
    const { body } = request
    return {
      raw,
      names: { model: model ?? body.model ?? 'auto', safety_identifier: body.safety_identifier, user: body.user },
      toChat(context, principal, candidates) {
        const build = (whole: WholeConversation, prepared?: Prepared) =>
          chatCall(deps, { request, whole, prepared }, context, principal, candidates)
        if (!refers(request)) {
          return raw.length > LARGE_BYTES
            ? preparedChat(body, request.items).then((prepared) => build(alone(request), prepared))
            : build(alone(request))
        }
        const { tenant, user } = principal
        const shelf = { ...deps, tenant: tenant.name, user, onLoad: heldBy(context) }
        return wholeConversation(request, shelf).then(async (whole) => {
          const items = whole.items.map(({ item }) => item)
          refuseTooLarge(request, items, context)
          return build(whole, await preparedChat(body, items))
        })
      },
    }
  },
  errorBody: responsesErrorBody,
  answerText: responseText,
})

/** A conversation as all candidates are told it, with what is quoted of it. */
interface Prepared {
  common: Told
  quoted: Quoted
}

async function preparedChat(body: ResponsesRequest['body'], items: readonly InputItem[]): Promise<Prepared> {
  // What was read of them so far took long, too.
  await nextTurn()
  const common = told({ body, items }, null, () => null)
  return { common, quoted: await quotedIn(common.chat) }
}

/** As this tenant has it. */
const responsesConfig = ({ snapshot }: RequestContext, { tenant }: Principal): ResponsesConfig => {
  const [shared, own] = [snapshot.config.responses, tenant.config.responses]
  return {
    store: own.store ?? shared.store,
    ttl_days: own.ttl_days ?? shared.ttl_days,
    max_bytes: own.max_bytes ?? shared.max_bytes,
  }
}

interface Asked {
  request: ResponsesRequest
  whole: WholeConversation
  prepared: Prepared | undefined
}

function chatCall(
  deps: ResponsesDeps,
  { request, whole, prepared }: Asked,
  context: RequestContext,
  principal: Principal,
  candidates: readonly Candidate[],
): ChatCall {
  const config = responsesConfig(context, principal)
  const thoughts = thoughtSeal(deps.seal, principal.tenant.name)
  const all = { body: request.body, items: whole.items.map(({ item }) => item) }
  const isCut = request.body.truncation === 'auto'
  const conversation = isCut ? within(all, roomOf(all, candidates)) : all
  const versionOf = (of: Conversation, candidate: Candidate | null = null, open: Open = () => null) =>
    toldOf(of, all, candidate, open, prepared)
  const common = versionOf(conversation)
  const mayKeep = config.store === 'on'
  const { unreadable } = deps
  const askedOf = (conversation: Conversation, common: ChatVersion): ChatRequest => ({
    ...common.request,
    asGiven: { items: conversation.items, prompt: request.body.prompt, tools: request.body.tools },
    ...(isNativeAlone(common, request) && { prefers: 'responses' as const }),
    forCandidate(candidate) {
      if (candidate.apis?.has('responses')) {
        return {
          ...common.request,
          dropped: [],
          native: nativeFor({ request, whole, mayKeep, unreadable }, candidate, thoughts),
        }
      }
      if (common.problem) throw common.problem
      return isOwn(candidate, request, conversation.items)
        ? versionOf(conversation, candidate, opener(thoughts, candidate, context)).request
        : common.request
    },
  })
  const { promptTokens } = common.request
  const cut = (times: number) => within(all, promptTokens * SHORTER ** times)
  const shortened = (times: number): ChatRequest | null => {
    const [less, before] = [cut(times), times === 1 ? conversation : cut(times - 1)]
    return less.items.length < before.items.length ? askedOf(less, versionOf(less)) : null
  }
  return {
    request: { ...askedOf(conversation, common), ...(isCut && { shortened }) },
    turnKey: whole.turnKey,
    writer: (turnKey) =>
      answerWriter(deps, { request, whole, tools: common.tools, thoughts, config, context, principal, turnKey }),
  }
}

/** What is left of a conversation that was still too long, as a share of its tokens. */
const SHORTER = 0.7

type Open = Parameters<typeof told>[2]

/** What a candidate gets, or (null) all of them; where the conversation was cut, that is told. */
function toldOf(
  conversation: Conversation,
  all: Conversation,
  candidate: Candidate | null,
  open: Open,
  { common, quoted }: Partial<Prepared> = {},
): ChatVersion {
  const version = written(told(conversation, candidate, open, conversation === all ? common : undefined), quoted)
  if (conversation !== all) version.request.dropped = ['input', ...(version.request.dropped ?? [])]
  return version
}

/** Tokens of a conversation that the candidate with most room can take. */
const roomOf = ({ body }: Conversation, candidates: readonly Candidate[]): number =>
  Math.max(0, ...candidates.map(({ contextWindow }) => contextWindow)) - (body.max_output_tokens ?? 0)

/** As much of a conversation as so many tokens hold. */
function within(all: Conversation, most: number): Conversation {
  const tokensOf = (items: readonly InputItem[]) => promptTokensOf(told({ ...all, items }, null, () => null).chat)
  const items = truncated(all.items, tokensOf, most)
  return items.length === all.items.length ? all : { ...all, items }
}

/** Something is asked that a model behind chat completions can't do. */
const isNativeAlone = ({ tools, problem }: ChatVersion, { body }: ResponsesRequest) =>
  problem !== null || tools.hosted.length > 0 || (body.prompt ?? null) !== null

/** Whether a candidate gets something else than the others. */
const isOwn = ({ reasoning }: Candidate, { body }: ResponsesRequest, items: readonly InputItem[]) =>
  (reasoning === false && Boolean(body.reasoning?.effort)) || items.some(({ encrypted_content: text }) => Boolean(text))

/** Opened, all thoughts of a request may be as large as its body. */
function opener(thoughts: ThoughtSeal, { name }: Candidate, { snapshot }: RequestContext): Open {
  const room = { left: snapshot.config.server.max_body_bytes }
  return ({ encrypted_content: text }) => (text ? thoughts.open(name, text, room) : null)
}

/** Of whole conversations, which hold more fields than the bodies that they come from. */
const MOST_VALUES = 2 * MAX_VALUES

/**
 * Takes a value's texts and names, of which nearly all of a large one is, and its numbers and texts, as a body's are
 * counted, from what there is room for; negative where it is larger. One item may stand for a large one many times, so
 * that it looks no further then.
 */
function take(value: unknown, room: { bytes: number; values: number }): void {
  if (typeof value === 'object' && value !== null) {
    room.bytes -= 4
    const isList = Array.isArray(value)
    let isEmpty = true
    for (const key in value) {
      if (room.bytes < 0 || room.values < 0) return
      isEmpty = false
      if (!isList) room.bytes -= key.length
      take(value[key as never], room)
    }
    if (!isEmpty) return
  } else room.bytes -= typeof value === 'string' ? Buffer.byteLength(value) + 2 : 4
  room.values--
}

/** What is kept and what is new may be more together than one request may hold. */
function refuseTooLarge({ body }: ResponsesRequest, items: readonly InputItem[], { snapshot }: RequestContext): void {
  const most = snapshot.config.server.max_body_bytes
  const room = { bytes: most, values: MOST_VALUES }
  take(items, room)
  const isChain = (body.previous_response_id ?? null) !== null
  if (room.values < 0) {
    throw invalidRequest(
      `The conversation holds more than ${MOST_VALUES} values.`,
      isChain ? 'previous_response_id' : 'input',
    )
  }
  if (room.bytes >= 0) return
  throw new GatewayError(`The conversation is over ${most} bytes.`, {
    status: 413,
    type: 'invalid_request_error',
    code: 'request_too_large',
    param: isChain ? 'previous_response_id' : 'input',
  })
}
