import type { Candidate } from '../candidates/candidate.ts'
import { notFound } from '../errors.ts'

/** A model as `GET /v1/models` lists it: OpenAI's four fields, and ours under `persona_router`. */
interface ModelObject {
  id: string
  object: 'model'
  created: number
  owned_by: string
  persona_router?: {
    description: string
    provider: string
    price_usd_per_million_tokens: { input: number; output: number }
    context_window: number
    capabilities: string[]
    groups: readonly string[]
  }
}

const auto = (id: string): ModelObject => ({ id, object: 'model', created: 0, owned_by: 'persona-router' })

/** `auto` first, then a router for each group, then the candidates that the caller may use. */
export function listModels(allowed: readonly Candidate[]): ModelObject[] {
  const groups = new Set(allowed.flatMap(({ groups }) => groups))
  return [auto('auto'), ...[...groups].sort().map((group) => auto(`auto:${group}`)), ...allowed.map(modelObject)]
}

/** @throws GatewayError 404 `model_not_found` */
export function findModel(allowed: readonly Candidate[], id: string): ModelObject {
  const found = listModels(allowed).find((model) => model.id === id)
  if (!found) throw notFound('The model does not exist or you do not have access to it.', 'model_not_found', 'model')
  return found
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
