import { type Alias, aliasTarget } from '../candidates/aliases.ts'
import type { Candidate } from '../candidates/candidate.ts'
import { choiceOf, resolveModel } from '../candidates/tenants.ts'
import type { RequestContext } from '../pipeline/context.ts'
import { allowedCandidates, tenantOf } from '../pipeline/principal.ts'

/** A model as `GET /v1/models` lists it: OpenAI's four fields, and ours under `persona_router`. */
interface ModelObject {
  id: string
  object: 'model'
  created: number
  owned_by: string
  persona_router?: { alias_of: string } | CandidateCard
}

interface CandidateCard {
  description: string
  provider: string
  price_usd_per_million_tokens: { input: number; output: number }
  context_window: number
  capabilities: string[]
  groups: readonly string[]
}

const auto = (id: string): ModelObject => ({ id, object: 'model', created: 0, owned_by: 'persona-router' })

const aliased = (id: string, target: string): ModelObject => ({ ...auto(id), persona_router: { alias_of: target } })

/** `GET /v1/models`: all at once. @throws GatewayError 401 */
export function listModels(context: RequestContext) {
  const data = modelsOf(...namesOf(context)).map(shapeFor(context))
  const [first, last] = [data[0]?.id ?? null, data.at(-1)?.id ?? null]
  return { object: 'list', data, ...(asksAsAnthropic(context) && { has_more: false, first_id: first, last_id: last }) }
}

/** `GET /v1/models/{id}`. @throws GatewayError 401, 404 `model_not_found` */
export function findModel(context: RequestContext, id: string): ModelObject {
  const [allowed, aliases] = namesOf(context)
  const shape = shapeFor(context)
  const listed = modelsOf(allowed, aliases).find((model) => model.id === id)
  if (listed) return shape(listed)
  resolveModel(id, allowed, aliases)
  return shape(aliased(id, aliasTarget(aliases, id) ?? id))
}

/** Anthropic's clients always say which version of its API they speak. */
const asksAsAnthropic = ({ incoming }: RequestContext) => incoming.headers['anthropic-version'] !== undefined

/** Anthropic's fields beside OpenAI's, for those who look for them. */
const shapeFor = (context: RequestContext) => (model: ModelObject) =>
  asksAsAnthropic(context)
    ? { ...model, type: 'model', display_name: model.id, created_at: new Date(1_000 * model.created).toISOString() }
    : model

function namesOf({ snapshot, caller }: RequestContext): [allowed: readonly Candidate[], aliases: readonly Alias[]] {
  const tenant = tenantOf(snapshot, caller)
  return [allowedCandidates(tenant, caller), tenant.aliases]
}

/** `auto` first, then a router for each group, aliases, and the candidates that the caller may use. */
function modelsOf(allowed: readonly Candidate[], aliases: readonly Alias[]): ModelObject[] {
  const groups = new Set(allowed.flatMap(({ groups }) => groups))
  const names = new Set(allowed.map(({ name }) => name))
  const usable = aliases.filter(({ pattern, target }) => !names.has(pattern) && choiceOf(target, allowed))
  return [
    auto('auto'),
    ...[...groups].sort().map((group) => auto(`auto:${group}`)),
    ...usable.map(({ pattern, target }) => aliased(pattern, target)),
    ...allowed.map(modelObject),
  ]
}

function modelObject(candidate: Candidate): ModelObject {
  return {
    id: candidate.name,
    object: 'model',
    created: 0,
    owned_by: candidate.vendor,
    persona_router: {
      description: candidate.description,
      provider: candidate.provider,
      price_usd_per_million_tokens: { input: candidate.price.input, output: candidate.price.output },
      context_window: candidate.contextWindow,
      capabilities: [...candidate.capabilities],
      groups: candidate.groups,
    },
  }
}
