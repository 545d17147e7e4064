import { type Alias, aliasTarget } from '../candidates/aliases.ts'
import type { Candidate } from '../candidates/candidate.ts'
import { choiceOf, resolveModel } from '../candidates/tenants.ts'

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

/** `auto` first, then a router for each group, aliases, and the candidates that the caller may use. */
export function listModels(allowed: readonly Candidate[], aliases: readonly Alias[]): ModelObject[] {
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

/** @throws GatewayError 404 `model_not_found` */
export function findModel(allowed: readonly Candidate[], aliases: readonly Alias[], id: string): ModelObject {
  const listed = listModels(allowed, aliases).find((model) => model.id === id)
  if (listed) return listed
  resolveModel(id, allowed, aliases)
  return aliased(id, aliasTarget(aliases, id) ?? id)
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
