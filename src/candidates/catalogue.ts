import { getModelRaw } from 'tokenlens'
import type { Config } from '../config/schema.ts'
import { kindOf } from '../providers/kind-schemas.ts'
import { knownModel } from './abilities.ts'
import { CAPABILITIES, type Candidate, type Capability } from './candidate.ts'
import { dialectFor } from './dialect.ts'
import type { CandidateConfig } from './schema.ts'

/** A candidate that can't be used, and why: shown in `/readyz`. */
export interface CandidateOff {
  name: string
  why: string
}

export interface CandidateList {
  candidates: Candidate[]
  off: CandidateOff[]
}

const DEFAULT_CONTEXT = 32_768
/** Capabilities of nearly every hosted chat model; vision and audio must be stated or be in the catalogue. */
const DEFAULT_CAPABILITIES: Capability[] = ['tools', 'json_schema', 'logprobs']

/**
 * The config's candidates completed from the catalogue (models.dev, by tokenlens); those whose provider can't be used
 * are off.
 *
 * @param unavailable provider name -> why it can't be used
 * @param more candidates that providers bring along, and what local servers listed
 */
export function listCandidates(
  config: Config,
  unavailable: ReadonlyMap<string, string | null>,
  more: readonly CandidateConfig[] = [],
): CandidateList {
  const candidates: Candidate[] = []
  const off: CandidateOff[] = []
  const names = new Set<string>()
  for (const entry of [...config.candidates, ...more]) {
    if (names.has(entry.name)) continue
    names.add(entry.name)
    const built = unavailable.get(entry.provider) ?? complete(entry, config)
    if (typeof built === 'string') off.push({ name: entry.name, why: built })
    else candidates.push(built)
  }
  return { candidates, off }
}

function complete(entry: CandidateConfig, config: Config): Candidate | string {
  const model = entry.model ?? entry.name
  const known = catalogueEntry(entry.provider, model)
  const provider = config.providers[entry.provider]
  const local = provider !== undefined && kindOf(provider).isLocal?.(provider)
  const pricing = known?.pricing
  const price =
    entry.price ??
    (pricing?.inputPerMTokens !== undefined && pricing.outputPerMTokens !== undefined
      ? { input: pricing.inputPerMTokens, output: pricing.outputPerMTokens, cached_input: pricing.cacheReadPerMTokens }
      : local
        ? { input: 0, output: 0 }
        : null)
  if (price === null) return 'its price is neither in the config nor in the catalogue'
  const maxOutput = entry.max_output_tokens ?? known?.context?.outputMax
  return {
    name: entry.name,
    provider: entry.provider,
    model,
    vendor: (entry.vendor ?? vendorOf(model, entry.provider)).toLowerCase(),
    description: entry.description ?? known?.displayName ?? '',
    price: {
      input: price.input,
      output: price.output,
      ...(price.cached_input !== undefined && { cachedInput: price.cached_input }),
      ...('cache_write' in price && price.cache_write !== undefined && { cacheWrite: price.cache_write }),
    },
    contextWindow: entry.context_window ?? known?.context?.combinedMax ?? known?.context?.inputMax ?? DEFAULT_CONTEXT,
    ...(maxOutput !== undefined && { maxOutputTokens: maxOutput }),
    capabilities: new Set(
      entry.capabilities ?? (known ? catalogueCapabilities(known.modalities) : DEFAULT_CAPABILITIES),
    ),
    groups: entry.groups,
    apis: new Set(entry.api ?? (provider && 'api' in provider ? provider.api : [])),
    explore: entry.explore,
    ...(entry.size_b !== undefined && { sizeB: entry.size_b }),
    ...(entry.open_weights !== undefined && { openWeights: entry.open_weights }),
    ...(entry.reasoning !== undefined && { reasoning: entry.reasoning }),
    ...arm(entry, model),
    benchmarks: entry.benchmarks,
    ...(entry.defaults && { defaults: entry.defaults }),
    ...dialectOf(entry.provider, model, config),
  }
}

/** How it is asked to think, and what is known of it: fields left out say nothing. */
function arm(entry: CandidateConfig, model: string): Pick<Candidate, 'thinking' | 'effort' | 'ability' | 'verbosity'> {
  const { reasoning_effort: asked, thinking: budget } = entry.defaults ?? {}
  const effort = entry.effort ?? (typeof asked === 'string' ? asked : undefined)
  const type = (budget as { type?: unknown } | undefined)?.type
  const thinking = entry.thinking ?? (type === 'enabled' ? true : type === 'disabled' ? false : undefined)
  const known = knownModel(entry.known_as ?? model) ?? knownModel(entry.name)
  const verbosity = entry.verbosity === undefined ? known?.verbosity : { [effort ?? 'default']: entry.verbosity }
  return {
    ...(thinking !== undefined && { thinking }),
    ...(effort !== undefined && { effort }),
    ...(known && { ability: known.ability }),
    ...(verbosity && { verbosity }),
  }
}

function dialectOf(provider: string, model: string, { providers, dialects }: Config): Pick<Candidate, 'dialect'> {
  const entry = providers[provider]
  const named = entry && 'dialect' in entry ? entry.dialect : undefined
  const config = dialects[named ?? provider]
  return config ? { dialect: dialectFor(config, model) } : {}
}

/** "meta-llama/llama-3.1-8b" is meta-llama's, wherever it is served. */
function vendorOf(model: string, provider: string): string {
  const slash = model.indexOf('/')
  return slash > 0 ? model.slice(0, slash) : provider
}

function catalogueEntry(provider: string, model: string) {
  return getModelRaw(`${provider}:${model}`) ?? getModelRaw(model)
}

function catalogueCapabilities(modalities: { imageIn?: boolean; audioIn?: boolean } | undefined): Capability[] {
  const lacks = new Set<Capability>()
  if (!modalities?.imageIn) lacks.add('vision')
  if (!modalities?.audioIn) lacks.add('audio')
  return CAPABILITIES.filter((capability) => !lacks.has(capability))
}
