import type { Config } from '../config/schema.ts'
import { notFound } from '../errors.ts'
import { kindOf } from '../providers/kind-schemas.ts'
import { aliasTarget, orderAliases } from './aliases.ts'
import type { Candidate } from './candidate.ts'
import type { EmbeddingModelConfig } from './schema.ts'

/** A model that embeds, with what accounting and its provider need to know of it. */
export interface EmbeddingModel {
  candidate: Candidate
  aliases: readonly string[]
}

/** @param unavailable provider name -> why it can't be used */
export const listEmbeddingModels = (
  { embeddings }: Config,
  unavailable: ReadonlyMap<string, string | null>,
): EmbeddingModel[] =>
  embeddings
    .filter(({ provider }) => unavailable.get(provider) === null)
    .map((entry) => ({ candidate: candidateOf(entry), aliases: entry.aliases }))

const candidateOf = ({ name, provider, model = name, price, groups }: EmbeddingModelConfig): Candidate => ({
  name,
  provider,
  model,
  vendor: provider,
  description: '',
  price: { input: price?.input ?? 0, output: 0 },
  contextWindow: Number.MAX_SAFE_INTEGER,
  capabilities: new Set(),
  groups,
  apis: new Set(['embeddings']),
  explore: false,
  benchmarks: {},
})

/**
 * The model that a request names, among those that the caller may use.
 *
 * @param wanted names and groups: the tenant's, and the key's where it is limited
 * @throws GatewayError 404 `model_not_found`
 */
export function resolveEmbeddingModel(
  models: readonly EmbeddingModel[],
  name: string,
  wanted: readonly (readonly string[])[],
): Candidate {
  const allowed = models.filter(({ candidate }) =>
    wanted.every((names) => names.includes(candidate.name) || candidate.groups.some((group) => names.includes(group))),
  )
  const aliases = Object.fromEntries(
    allowed.flatMap(({ candidate, aliases: patterns }) => patterns.map((pattern) => [pattern, candidate.name])),
  )
  const own = allowed.some(({ candidate }) => candidate.name === name)
    ? name
    : aliasTarget(orderAliases(aliases, {}), name)
  const found = allowed.find(({ candidate }) => candidate.name === own)
  if (found) return found.candidate
  const shown = name.slice(0, 64).replace(/[^\x20-\x7e]/g, '?')
  throw notFound(
    `There is no model \`${shown}\` that embeds, or you do not have access to it.`,
    'model_not_found',
    'model',
  )
}

/** What zod can't see of the models that embed. */
export function embeddingProblems({ embeddings, providers, candidates }: Config): string[] {
  const names = new Set(candidates.map(({ name }) => name))
  return embeddings.flatMap(({ name, provider, price }, index) => {
    const path = `embeddings.${index}`
    const entry = providers[provider]
    const isTaken = names.has(name)
    names.add(name)
    return [
      ...(isTaken ? [`${path}.name: '${name}' is there twice`] : []),
      ...(entry ? [] : [`${path}.provider: there is no provider '${provider}'`]),
      ...(entry && !kindOf(entry).hasMore ? [`${path}.provider: '${provider}' answers chats alone`] : []),
      ...(entry && !price && !kindOf(entry).isLocal?.(entry)
        ? [`${path}.price: is needed, since '${provider}' is not local`]
        : []),
    ]
  })
}
