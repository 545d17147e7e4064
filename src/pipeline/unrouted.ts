import type { Candidate } from '../candidates/candidate.ts'
import type { Erasures } from '../learning/erasures.ts'
import { NEW_USER } from '../learning/profile.ts'
import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import type { ChatRequest } from '../openai/chat.ts'
import { errorBody } from '../openai/error.ts'
import type { Breakers } from '../providers/forward/breakers.ts'
import { isWhole } from '../providers/relay/outcome.ts'
import type { Recorder } from '../store/recorder/recorder.ts'
import type { InteractionRecord } from '../store/records/codec.ts'
import type { Admission } from './admission.ts'
import { logAnswer } from './after-answer.ts'
import type { Call } from './call.ts'
import { answer, type ChatDeps } from './chat.ts'
import type { RequestContext } from './context.ts'
import { turnOf } from './conversation.ts'
import type { Decision } from './decide.ts'
import type { Endpoint } from './endpoint.ts'
import { claimIdempotencyKey, type IdempotencyDeps } from './idempotency.ts'
import type { Principal } from './principal.ts'
import type { Quota } from './quota/quota.ts'
import { recordOf } from './record.ts'

export interface UnroutedDeps extends IdempotencyDeps {
  admission: Admission
  quota: Quota
  breakers: Breakers
  refusals: ChatDeps['refusals']
  recorder: Recorder
  erasures: Erasures
  metrics: Metrics
  log: Logger
}

/**
 * One answer of the model that the request names, with no choice and nothing to learn: admitted, limited, forwarded and
 * recorded like every other.
 *
 * @throws GatewayError
 */
export async function completeUnrouted(deps: UnroutedDeps, context: RequestContext, call: Call): Promise<void> {
  const [candidate] = call.model.candidates
  if (!candidate) throw new Error('a call without a model')
  deps.quota.refuseKnown(context, call.principal)
  await deps.admission.run(call.principal.tenant.config.priority, context.signal, async () => {
    const claimed = await claimIdempotencyKey(deps, context, call)
    if (claimed === 'replayed') return
    let hasWholeAnswer = false
    try {
      hasWholeAnswer = await limitedAnswer(deps, context, call, givenModel(candidate))
    } finally {
      claimed?.end(hasWholeAnswer)
    }
  })
}

async function limitedAnswer(
  deps: UnroutedDeps,
  context: RequestContext,
  call: Call,
  decision: Decision,
): Promise<boolean> {
  const grant = await deps.quota.reserve(context, call)
  let record: InteractionRecord | null = null
  try {
    const outcome = await answer(deps, context, call, decision, grant, (ended) => {
      record = grant.withCosts(recordOf(context, call, decision, ended))
      if (context.trace) context.trace.record = record
      grant.settle(record)
      deps.metrics.observe(record)
      logAnswer(deps.log, record)
      if (deps.erasures.happened(record.tenant, record.user, record.ts)) return undefined
      return deps.recorder.interaction(record)
    })
    return isWhole(outcome)
  } finally {
    if (!record) grant.settle(null)
  }
}

/**
 * A call of which nothing is chosen, in the words of one that is.
 *
 * @param request what of it counts: tokens, streaming, the provider's own format
 */
export function unroutedCall(
  name: Endpoint['name'],
  principal: Principal,
  candidate: Candidate,
  request: Partial<ChatRequest>,
  writer: Call['writer'] = null,
): Call {
  const raw = request.raw ?? NOTHING
  return {
    endpoint: { name, errorBody, read: notRead, answerText: () => '' },
    raw,
    request: {
      body: { model: candidate.name, messages: [] },
      raw,
      spans: new Map(),
      stream: false,
      wantsUsage: false,
      needs: new Set(),
      promptTokens: 0,
      ...request,
    },
    writer,
    principal,
    knobs: { conversation: null, explore: false, strict: false },
    model: { explicit: true, candidates: [candidate] },
    turn: turnOf([], principal.user, null),
    conversation: null,
    message: null,
  }
}

const NOTHING = Buffer.alloc(0)

function notRead(): never {
  throw new Error('it is no chat completion')
}

/** The decision that the request has made itself. */
export function givenModel(candidate: Candidate): Decision {
  const score = { candidate, mean: 0, std: 0, parts: {}, quality: 0, completionTokens: 0, costUsd: 0 }
  return {
    selection: {
      chosen: score,
      reason: 'explicit',
      detail: '',
      ranking: [candidate],
      scored: [score],
      propensities: [1],
      excluded: [],
      lift: null,
    },
    scores: [score],
    policy: null,
    version: 'none',
    fallback: 'unrouted',
    profile: NEW_USER,
    taste: undefined,
    stated: null,
    conversation: null,
    caution: 0,
    risk: null,
    text: '',
    embedding: null,
    tools: 0,
    reading: null,
    vector: null,
    shadow: null,
    baseline: null,
  }
}
