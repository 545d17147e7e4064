import type { UserIds } from '../candidates/tenants.ts'
import type { Config } from '../config/schema.ts'
import { withPresentNames } from '../learning/stated-preferences.ts'
import { isObject } from '../openai/is-object.ts'
import { parseRawBody } from '../openai/raw-body.ts'
import type { Admission } from '../pipeline/admission.ts'
import type { Call } from '../pipeline/call.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { type DecideDeps, type Decision, decide } from '../pipeline/decide.ts'
import { chatEndpoint, type Endpoint } from '../pipeline/endpoint.ts'
import { speakerOf } from '../pipeline/principal.ts'
import type { Quota } from '../pipeline/quota/quota.ts'
import type { Selection, Stated } from '../routing/choose/choose.ts'
import { taskShares } from '../routing/choose/tasks.ts'
import { readCall } from './chat-completions.ts'
import { completionsEndpoint } from './completions.ts'
import { messagesEndpoint } from './messages.ts'

export interface ExplainDeps extends DecideDeps {
  userIds: UserIds
  quota: Quota
  admission: Admission
}

/**
 * `POST /v1/router/explain`: the table of candidates and why one is chosen; nothing is forwarded. It counts as a
 * request, unless the operator's console asks: a look uses nothing up.
 *
 * @throws GatewayError
 */
export async function explain(deps: ExplainDeps, context: RequestContext, responses: Endpoint, counts = true) {
  const call = await readCall(context, deps.userIds, eitherOf(responses))
  const { tenant } = call.principal
  if (counts) deps.quota.refuseKnown(context, call.principal)
  return deps.admission.run(tenant.config.priority, context.signal, async () => {
    if (counts) (await deps.quota.reserveRequest(context, call.principal)).settle()
    const decision = await decide(deps, context, call)
    return explanationOf(decision, await favouriteOf(decision, call), context.snapshot.config)
  })
}

/** Takes the body of any endpoint that answers, told apart by what it alone has. */
const eitherOf = (responses: Endpoint): Endpoint => ({
  ...chatEndpoint,
  read(raw, model) {
    const body = parseRawBody(raw).json
    const endpoint = 'messages' in body ? (isForMessages(body) ? messagesEndpoint : chatEndpoint) : null
    return (endpoint ?? ('prompt' in body && !('input' in body) ? completionsEndpoint : responses)).read(raw, model)
  },
})

/** Fields and content blocks that the Messages API has, and chat completions have not. */
const OF_MESSAGES = ['system', 'stop_sequences', 'thinking', 'output_config', 'context_management']
const BLOCKS = new Set(['tool_use', 'tool_result', 'thinking', 'redacted_thinking', 'document', 'image'])

function isForMessages(body: Record<string, unknown>): boolean {
  if (OF_MESSAGES.some((field) => field in body)) return true
  const listOf = (value: unknown) => (Array.isArray(value) ? value.filter(isObject) : [])
  if (listOf(body.tools).some((tool) => 'input_schema' in tool)) return true
  return listOf(body.messages).some(({ content }) => listOf(content).some(({ type }) => BLOCKS.has(String(type))))
}

/** Name of the candidate that is left only for one that is surely better; null where none is. */
async function favouriteOf({ policy, fallback, baseline }: Decision, { principal }: Call): Promise<string | null> {
  if (!policy || fallback !== null) return null
  const { name: tenant, candidates } = principal.tenant
  const usually = baseline && { baseline: baseline.comparison.baseline }
  const found = await policy.router
    .favouriteOf({ tenant, speaker: speakerOf(principal), ...usually }, candidates)
    .catch(() => null)
  return found?.name ?? null
}

/** Why another answers than the user stated for such tasks; null where it answers. */
function whyNot({ candidate }: Stated, { reason, detail, chosen, excluded }: Selection): string | null {
  if (reason === 'stated' || chosen.candidate.name === candidate) return null
  const exclusion = excluded.find((one) => one.candidate === candidate)
  if (exclusion) return exclusion.detail
  if (detail === 'tool_loop') return 'the model that called a tool reads its result'
  return 'is not among the candidates of this request'
}

function explanationOf(decision: Decision, favourite: string | null, { candidates }: Config) {
  const { selection, scores, policy, version, fallback, profile, taste, stated, conversation, caution, risk } = decision
  const propensity = new Map(
    selection.scored.map(({ candidate }, index) => [candidate.name, selection.propensities[index]]),
  )
  const excluded = new Map(selection.excluded.map(({ candidate, why, detail }) => [candidate, { why, detail }]))
  const byGraph = fallback === null
  const tasks = taskShares(decision, policy?.router.artifact.tasks ?? null)
  return {
    object: 'router.explanation',
    chosen: selection.chosen.candidate.name,
    reason: selection.reason,
    detail: fallback ?? selection.detail,
    policy: version,
    caution,
    risk,
    favourite,
    tasks,
    stated: stated && { ...stated, why_not: whyNot(stated, selection) },
    user: {
      rewards: profile.rewards,
      preferences: withPresentNames(profile.preferences, candidates),
      taste: taste && policy?.router.artifact.manifest.starts?.[taste] ? taste : 'balanced',
      degraded: profile.degraded,
    },
    conversation: conversation && { candidate: conversation.candidate, messages: conversation.messages },
    candidates: scores
      .map(({ candidate, mean, std, apart, parts, quality, completionTokens, costUsd }) => ({
        name: candidate.name,
        provider: candidate.provider,
        mean: byGraph ? mean : null,
        std: byGraph ? std : null,
        apart: byGraph ? (apart ?? null) : null,
        parts: byGraph ? parts : null,
        quality: byGraph ? quality : null,
        completion_tokens: completionTokens,
        predicted_cost_usd: costUsd,
        propensity: propensity.get(candidate.name) ?? 0,
        excluded: excluded.get(candidate.name)?.detail ?? null,
        excluded_code: excluded.get(candidate.name)?.why ?? null,
      }))
      .sort((a, b) => Number(a.excluded !== null) - Number(b.excluded !== null) || (b.mean ?? 0) - (a.mean ?? 0)),
  }
}
