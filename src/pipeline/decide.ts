import type { Candidate } from '../candidates/candidate.ts'
import { candidateNamed, isNamed } from '../candidates/former-names.ts'
import type { UserIds } from '../candidates/tenants.ts'
import type { RouterConfig } from '../config/schema.ts'
import { queryText } from '../embedding/query-text.ts'
import { toolShare } from '../embedding/tool-share.ts'
import { GatewayError } from '../errors.ts'
import type { UserProfile } from '../learning/profile.ts'
import { type StatedPreferences, statedPreferences } from '../learning/stated-preferences.ts'
import type { UserStates } from '../learning/user-states.ts'
import type { VectorSeal, VectorVault } from '../learning/vector-vault.ts'
import type { Latencies } from '../observability/latencies.ts'
import type { Logger } from '../observability/logger.ts'
import type { Metrics } from '../observability/metrics.ts'
import { unfitFrom } from '../providers/dialect/plan.ts'
import type { Refusals } from '../providers/dialect/refusals.ts'
import type { Breakers } from '../providers/forward/breakers.ts'
import type { Start } from '../routing/artifact/manifest.ts'
import {
  type ChooseInput,
  type Limits,
  NoCandidateError,
  type Selection,
  type Stated,
} from '../routing/choose/choose.ts'
import { draw } from '../routing/choose/draw.ts'
import { voiceOf } from '../routing/choose/evidence.ts'
import { choosePreferring } from '../routing/choose/prefer.ts'
import { type TaskQuery, taskOf } from '../routing/choose/tasks.ts'
import type { Policies, PolicySnapshot } from '../routing/policies/policies.ts'
import { cautionFor, type Policy } from '../routing/policy.ts'
import { type CandidateScore, type RouteQuery, RouterError } from '../routing/router.ts'
import type { Gains } from '../routing/safety/gains.ts'
import type { Modes } from '../routing/safety/modes.ts'
import { inTime } from '../runtime/in-time.ts'
import { quantise } from '../runtime/quantise.ts'
import type { ConversationState, KeptVector } from '../store/store.ts'
import { type Baseline, baselineName, baselineOf } from './baseline.ts'
import type { Call, Knobs } from './call.ts'
import type { RequestContext } from './context.ts'
import type { Conversations } from './conversation.ts'
import { askerOf, speakerOf } from './principal.ts'

/** A decision for a request, with all that it was based on. */
export interface Decision {
  selection: Selection
  /** Of every candidate that the model name stands for. */
  scores: readonly CandidateScore[]
  /** The artifact that serves this user; null where none is loaded. */
  policy: Policy | null
  /** Version of the artifact that ranked, or of the fallback router. */
  version: string
  /** Why the fallback router ranked instead of the artifact, or null. */
  fallback: string | null
  profile: UserProfile
  /** Where this tenant's users start, as the configuration states it; undefined: as people are. */
  taste: Start | undefined
  /** Who was to answer tasks of this kind, as the user stated; null where they stated nothing of it. */
  stated: Stated | null
  /** What the choice is compared with; null where no baseline is configured, or somebody said who answers. */
  baseline: Baseline | null
  conversation: ConversationState | null
  /** Deviations of the difference to the baseline or everybody's favourite that a candidate had to be better by. */
  caution: number
  /** `risk` that it comes from; null where it is the configured one. */
  risk: number | null
  /** The text that was embedded. */
  text: string
  embedding: Float32Array | null
  /** How much the request looks like agents' work, 0 to 1. */
  tools: number
  /** What the graph read in it, of which the log and learning live; null where none ranked. */
  reading: Float32Array | null
  /** Sealed, where the tenant asked for vectors. */
  vector: KeptVector | null
  /** A policy that is asked afterwards for its own choice, with the input of `choose`; null where none runs. */
  shadow: {
    policy: Policy
    input: Omit<ChooseInput, 'scores' | 'by' | 'rewards' | 'baseline'>
    costWeight: number | undefined
    taste: Start | undefined
    /** Name of the baseline. */
    usually: string | undefined
    /** Of the tenant. */
    rule: Pick<RouterConfig, 'caution' | 'risk'>
  } | null
}

export interface DecideDeps {
  policies: Policies
  users: UserStates
  userIds: Pick<UserIds, 'stored'>
  gains: Gains
  modes: Modes
  conversations: Conversations
  vault: VectorVault
  latencies: Latencies
  breakers: Breakers
  refusals: Refusals
  metrics: Metrics
  log: Logger
}

/**
 * embed → score → choose, for one request. A failure on the way costs the personal choice, never the answer.
 *
 * @throws GatewayError when no candidate fits
 */
export async function decide(deps: DecideDeps, { snapshot, ts }: RequestContext, call: Call): Promise<Decision> {
  const { request, principal, knobs, model, turn } = call
  const { tenant, user } = principal
  const serving = deps.policies.snapshot(tenant.name, user)
  const { policy } = serving
  const text = queryText(request.body.messages)
  const tools = toolShare(request.body)
  const deadline = performance.now() + snapshot.config.router.deadline_ms

  // None of them fails. All are started before the first is awaited; mostly they are there already.
  const asking = [
    deps.users.get(policy, tenant.name, user),
    embed(policy, text, deadline),
    turn.continues ? deps.conversations.load(tenant.name, turn.key) : null,
    tenant.config.training === 'vectors' ? deps.vault.sealOf(tenant.name, user, ts) : null,
  ] as const
  const [profile, embedded, conversation, seal] = [await asking[0], await asking[1], await asking[2], await asking[3]]
  const preferences = statedPreferences(profile.preferences)
  const costWeight = knobs.costWeight ?? preferences.cost_weight
  const taste = tasteOf(tenant.config.taste ?? snapshot.config.router.taste)
  const { router } = snapshot.config
  const usually = baselineName(router, tenant)
  const query = {
    tenant: tenant.name,
    speaker: speakerOf(principal),
    embedding: embedded.vector ?? NO_VECTOR,
    ...(tools > 0 && { tools }),
    promptTokens: request.promptTokens,
    state: profile.state,
    ...(costWeight !== undefined && { costWeight }),
    ...(taste && { taste }),
    ...(usually !== undefined && { baseline: usually }),
    // Inputs that came late because this process was busy are scored all the same: scoring takes less than was lost.
    deadline: Math.max(deadline, performance.now() + snapshot.config.router.deadline_ms / 10),
  }
  const scored = await score(deps, serving, embedded.failure, query, tenant.candidates)
  if (scored.fallback === 'not_finite' && policy) deps.users.quarantine(policy, tenant.name, user)
  if (scored.fallback !== null) deps.metrics.routerFallback.inc({ reason: scored.fallback })

  const scores = scoresOf(scored.scores, model.candidates)
  if (model.explicit && scores[0]) refuseStated(scores[0], preferences)
  const rule = ruleOf(router, tenant.config)
  const isRisky = rule.risk !== undefined && scored.fallback === null && costWeight === undefined && !model.explicit
  const caution = policy && isRisky ? await cautionFor(policy, rule, query, tenant.candidates) : router.caution
  const voice = voiceOf(query.speaker)
  const unfit = unfitFrom(request, knobs.strict)
  const limits: Limits = {
    needs: request.needs,
    promptTokens: request.promptTokens,
    maxTokens: request.body.max_completion_tokens ?? request.body.max_tokens ?? null,
    ...strictest(knobs, preferences),
    latencyMs: (name) => deps.latencies.expectedMs(name, askerOf(principal)),
    unfit: (candidate) => unfit(candidate, deps.refusals.of(tenant.name, candidate, voice)),
    isOpen: (candidate) => deps.breakers.of(candidate).isOpen,
  }
  const stated = model.explicit
    ? null
    : statedFor(preferences, policy, { text, embedding: embedded.vector }, tenant.candidates)
  try {
    const input = {
      limits,
      stated,
      explicit: model.explicit ? (model.candidates[0]?.name ?? null) : null,
      explore: router.explore && tenant.config.explore && knobs.explore && preferences.explore !== false,
      previous: conversation && {
        candidate: conversation.candidate,
        toolLoop: turn.toolLoop,
        promptTokens: stillCached(conversation, ts) ? conversation.promptTokens : 0,
      },
      policy: { gamma: router.gamma, sticky: router.sticky, caution },
      random: draw(router.exploration_seed, tenant.name, user, text, profile.rewards),
    }
    const by = scored.fallback === null ? 'graph' : 'fallback'
    const { rewards } = profile
    const baseline = model.explicit ? null : baselineOf(router, deps, { tenant, user, rewards, policy: scored.version })
    const selection = choosePreferring(request.prefers, {
      ...input,
      scores,
      by,
      rewards,
      baseline: baseline?.rule ?? null,
    })
    return {
      selection,
      scores,
      policy,
      version: scored.version,
      fallback: scored.fallback,
      profile,
      taste,
      stated,
      baseline: selection.reason === 'stated' ? null : baseline,
      conversation,
      caution,
      risk: policy && isRisky ? (rule.risk ?? null) : null,
      text,
      embedding: embedded.vector,
      tools,
      reading: scored.scores[0]?.reading ?? null,
      vector: seal && sealed(seal, policy, embedded.vector),
      shadow: serving.shadow && { policy: serving.shadow, input, costWeight, taste, usually, rule },
    }
  } catch (error) {
    if (error instanceof NoCandidateError) throw noCandidate(error)
    throw error
  }
}

/** How cautious to be with a tenant's users. */
function ruleOf({ caution, risk }: RouterConfig, tenant: { risk?: number | null | undefined }) {
  const own = tenant.risk === undefined ? risk : tenant.risk
  return { caution, ...(typeof own === 'number' && { risk: own }) }
}

/** Whom a user wants to answer a query of its kind, by the candidate's present name. */
function statedFor(
  { prefer }: StatedPreferences,
  policy: Policy | null,
  query: TaskQuery,
  candidates: readonly Candidate[],
): Stated | null {
  if (!prefer || !policy) return null
  const task = taskOf(query, policy.router.artifact.tasks)
  const wanted = task === null ? undefined : prefer[task]
  if (task === null || wanted === undefined) return null
  return { task, candidate: candidateNamed(candidates, wanted)?.name ?? wanted }
}

/** Balanced is how the artifact's people are. */
const tasteOf = (taste: Start | 'balanced') => (taste === 'balanced' ? undefined : taste)

/** Scores of the candidates that the model name stands for: often all of the tenant's. */
function scoresOf(all: readonly CandidateScore[], candidates: readonly Candidate[]): readonly CandidateScore[] {
  if (all.length === candidates.length && all.every(({ candidate }, i) => candidate === candidates[i])) return all
  const wanted = new Set(candidates)
  return all.filter(({ candidate }) => wanted.has(candidate))
}

function sealed(seal: VectorSeal, policy: Policy | null, vector: Float32Array | null): KeptVector | null {
  const quantised = quantise(vector)
  return policy && quantised && { embedder: policy.embedder.version, of: { sealed: seal(quantised) } }
}

const NO_VECTOR = new Float32Array(0)
/** Providers drop a cached prompt prefix after about five minutes without use. */
const PROMPT_CACHE_MS = 300_000

export const stillCached = (conversation: ConversationState, now: number) => now - conversation.ts < PROMPT_CACHE_MS

interface Embedded {
  vector: Float32Array | null
  failure: string | null
}

function embed(policy: Policy | null, text: string, deadline: number): Embedded | Promise<Embedded> {
  if (policy === null) return { vector: null, failure: 'no_artifact' }
  const failed = () => ({ vector: null, failure: 'embedder' })
  try {
    const vector = policy.embedder.embed(text)
    if (!(vector instanceof Promise)) return { vector, failure: null }
    return inTime(vector, deadline - performance.now(), tooLate).then(
      (found) => ({ vector: found, failure: null }),
      failed,
    )
  } catch {
    return failed()
  }
}

function tooLate(): never {
  throw new Error('deadline')
}

async function score(
  deps: DecideDeps,
  { policy, fallback }: PolicySnapshot,
  failure: string | null,
  query: RouteQuery,
  candidates: readonly Candidate[],
): Promise<{ scores: CandidateScore[]; version: string; fallback: string | null }> {
  let reason = failure ?? 'no_artifact'
  if (policy !== null && failure === null) {
    try {
      return { scores: await policy.router.score(query, candidates), version: policy.version, fallback: null }
    } catch (error) {
      if (!(error instanceof RouterError)) throw error
      reason = error.reason
      deps.log.warn({ reason, policy: policy.version }, 'the fallback router chooses')
    }
  }
  return { scores: await fallback.score(query, candidates), version: fallback.version, fallback: reason }
}

function noCandidate({ exclusions, temporary }: NoCandidateError): GatewayError {
  if (temporary) {
    return new GatewayError('No model is available for this request right now.', {
      status: 503,
      type: 'api_error',
      code: 'no_candidate_available',
      retryAfterS: 5,
    })
  }
  // Those that lack something else would not answer a shorter one either.
  const tooLong = exclusions.some(({ why }) => why === 'context_window')
  const why = exclusions.map(({ candidate, detail }) => `${candidate} ${detail}`).join('; ')
  return new GatewayError(`No model fits this request${why ? `: ${why}` : ''}.`, {
    status: 400,
    type: 'invalid_request_error',
    code: tooLong ? 'context_length_exceeded' : 'no_candidate',
    param: tooLong ? 'messages' : 'model',
  })
}

/** What a user's profile rules out is not to be had by name either. @throws GatewayError 403 */
function refuseStated({ candidate, costUsd }: CandidateScore, stated: StatedPreferences): void {
  const { allow, deny, max_cost_usd: most } = stated
  const isDenied = (deny && isNamed(candidate, deny)) || (allow && !isNamed(candidate, allow))
  if (!isDenied && (most === undefined || costUsd <= most)) return
  const why = isDenied
    ? 'does not allow this model'
    : `allows $${most} a request; this one would cost about $${costUsd}`
  throw new GatewayError(`The user's profile ${why}.`, {
    status: 403,
    type: 'permission_error',
    code: 'not_allowed_by_profile',
    param: 'model',
  })
}

/** A request can narrow what its user's profile states, never widen it. */
function strictest(knobs: Knobs, stated: StatedPreferences): Partial<Limits> {
  const allow =
    knobs.allow && stated.allow
      ? knobs.allow.filter((name) => stated.allow?.includes(name))
      : (knobs.allow ?? stated.allow)
  const deny = [...(knobs.deny ?? []), ...(stated.deny ?? [])]
  const maxCostUsd = smaller(knobs.maxCostUsd, stated.max_cost_usd)
  const maxLatencyMs = smaller(knobs.maxLatencyMs, stated.max_latency_ms)
  return {
    ...(allow && { allow }),
    ...(deny.length > 0 && { deny }),
    ...(maxCostUsd !== undefined && { maxCostUsd }),
    ...(maxLatencyMs !== undefined && { maxLatencyMs }),
  }
}

const smaller = (a: number | undefined, b: number | undefined) =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)
