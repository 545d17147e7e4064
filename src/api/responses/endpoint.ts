import type { Candidate } from '../../candidates/candidate.ts'
import type { ResponsesConfig } from '../../config/schema.ts'
import { GatewayError } from '../../errors.ts'
import type { ChatRequest } from '../../openai/chat.ts'
import { parseResponses, type ResponsesRequest } from '../../openai/responses/body.ts'
import type { InputItem } from '../../openai/responses/items.ts'
import { responseText } from '../../openai/responses/text.ts'
import type { ThoughtSeal } from '../../openai/responses/thoughts.ts'
import { type ChatVersion, type Conversation, toChat } from '../../openai/responses/to-chat.ts'
import { truncated } from '../../openai/responses/truncate.ts'
import { responsesErrorBody } from '../../openai/responses/words.ts'
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
        const build = (whole: WholeConversation) => chatCall(deps, request, whole, context, principal, candidates)
        if (!refers(request)) return build(alone(request))
        const { tenant, user } = principal
        const shelf = { ...deps, tenant: tenant.name, user, onLoad: heldBy(context) }
        return wholeConversation(request, shelf).then(build)
      },
    }
  },
  errorBody: responsesErrorBody,
  answerText: responseText,
})

/** As this tenant has it. */
const responsesConfig = ({ snapshot }: RequestContext, { tenant }: Principal): ResponsesConfig => {
  const [shared, own] = [snapshot.config.responses, tenant.config.responses]
  return {
    store: own.store ?? shared.store,
    ttl_days: own.ttl_days ?? shared.ttl_days,
    max_bytes: own.max_bytes ?? shared.max_bytes,
  }
}

function chatCall(
  deps: ResponsesDeps,
  request: ResponsesRequest,
  whole: WholeConversation,
  context: RequestContext,
  principal: Principal,
  candidates: readonly Candidate[],
): ChatCall {
  const config = responsesConfig(context, principal)
  const thoughts = thoughtSeal(deps.seal, principal.tenant.name)
  const all = { body: request.body, items: whole.items.map(({ item }) => item) }
  if (whole.refers) refuseTooLarge(all.items, context)
  const isCut = request.body.truncation === 'auto'
  const conversation = isCut ? within(all, roomOf(all, candidates)) : all
  const common = toldOf(conversation, all)
  const mayKeep = config.store === 'on'
  const { unreadable } = deps
  const askedOf = (conversation: Conversation, common: ChatVersion): ChatRequest => ({
    ...common.request,
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
        ? toldOf(conversation, all, candidate, (item) => opened(thoughts, candidate, item)).request
        : common.request
    },
  })
  const { promptTokens } = common.request
  const cut = (times: number) => within(all, promptTokens * SHORTER ** times)
  const shortened = (times: number): ChatRequest | null => {
    const [less, before] = [cut(times), times === 1 ? conversation : cut(times - 1)]
    return less.items.length < before.items.length ? askedOf(less, toldOf(less, all)) : null
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

/** What a candidate gets, or (null) all of them; where the conversation was cut, that is told. */
function toldOf(
  conversation: Conversation,
  all: Conversation,
  candidate: Candidate | null = null,
  open: Parameters<typeof toChat>[2] = () => null,
): ChatVersion {
  const version = toChat(conversation, candidate, open)
  if (conversation !== all) version.request.dropped = ['input', ...(version.request.dropped ?? [])]
  return version
}

/** Tokens of a conversation that the candidate with most room can take. */
const roomOf = ({ body }: Conversation, candidates: readonly Candidate[]): number =>
  Math.max(0, ...candidates.map(({ contextWindow }) => contextWindow)) - (body.max_output_tokens ?? 0)

/** As much of a conversation as so many tokens hold. */
function within(all: Conversation, most: number): Conversation {
  const tokensOf = (items: readonly InputItem[]) => toChat({ ...all, items }, null, () => null).request.promptTokens
  const items = truncated(all.items, tokensOf, most)
  return items.length === all.items.length ? all : { ...all, items }
}

/** Something is asked that a model behind chat completions can't do. */
const isNativeAlone = ({ tools, problem }: ChatVersion, { body }: ResponsesRequest) =>
  problem !== null || tools.hosted.length > 0 || (body.prompt ?? null) !== null

/** Whether a candidate gets something else than the others. */
const isOwn = ({ reasoning }: Candidate, { body }: ResponsesRequest, items: readonly InputItem[]) =>
  (reasoning === false && Boolean(body.reasoning?.effort)) || items.some(({ encrypted_content: text }) => Boolean(text))

const opened = (thoughts: ThoughtSeal, { name }: Candidate, { encrypted_content: text }: InputItem) =>
  text ? thoughts.open(name, text) : null

/** What is kept and what is new may be more together than one request may hold. */
function refuseTooLarge(items: readonly InputItem[], { snapshot }: RequestContext): void {
  const most = snapshot.config.server.max_body_bytes
  if (Buffer.byteLength(JSON.stringify(items)) <= most) return
  throw new GatewayError(`The conversation is over ${most} bytes.`, {
    status: 413,
    type: 'invalid_request_error',
    code: 'request_too_large',
    param: 'previous_response_id',
  })
}
