import type { Config } from '../config/schema.ts'
import { kindOf } from '../providers/kind-schemas.ts'
import { knownModel } from './abilities.ts'
import { CAPABILITIES, type Candidate, type Capability, type Price, type Rates } from './candidate.ts'
import { type Dialect, dialectFor } from './dialect.ts'
import { bundledPrices, type ListedModel, type PriceList } from './price-list.ts'
import { yearOf } from './released.ts'
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
 * The config's candidates completed from the catalogue; those whose provider can't be used are off.
 *
 * @param unavailable provider name -> why it can't be used
 * @param more candidates that providers bring along, and what local servers listed
 */
export function listCandidates(
  config: Config,
  unavailable: ReadonlyMap<string, string | null>,
  more: readonly CandidateConfig[] = [],
  prices: PriceList = bundledPrices,
): CandidateList {
  const candidates: Candidate[] = []
  const off: CandidateOff[] = []
  const names = new Set<string>()
  for (const entry of [...config.candidates, ...more]) {
    if (names.has(entry.name)) continue
    names.add(entry.name)
    const built = unavailable.get(entry.provider) ?? complete(entry, config, prices)
    if (typeof built === 'string') off.push({ name: entry.name, why: built })
    else candidates.push(built)
  }
  return { candidates, off }
}

function complete(entry: CandidateConfig, config: Config, prices: PriceList): Candidate | string {
  const model = entry.model ?? entry.name
  const provider = config.providers[entry.provider]
  const isLocal = (provider !== undefined && kindOf(provider).isLocal?.(provider)) ?? false
  const known = prices.find({
    provider: entry.provider,
    baseUrl: provider && 'base_url' in provider ? provider.base_url : undefined,
    names: [model, ...(entry.known_as === undefined ? [] : [entry.known_as])],
    isLocal,
  })
  const price =
    (entry.price && priceOf(entry.price)) ?? listedPrice(known) ?? (isLocal ? { input: 0, output: 0 } : null)
  if (price === null) {
    return `its price is neither in the config nor in the catalogue, which knows no '${model}' with one price`
  }
  const dialect = dialectOf(entry.provider, model, config)
  const isResponsesOnly = dialect?.responses === 'always'
  const maxOutput = entry.max_output_tokens ?? known?.limit?.output
  return {
    name: entry.name,
    ...(entry.formerly && { formerly: entry.formerly }),
    provider: entry.provider,
    model,
    vendor: (entry.vendor ?? vendorOf(model, entry.provider)).toLowerCase(),
    description: entry.description ?? known?.name ?? '',
    price,
    contextWindow: entry.context_window ?? (known?.limit?.context || DEFAULT_CONTEXT),
    ...(maxOutput !== undefined && { maxOutputTokens: maxOutput }),
    capabilities: new Set(
      entry.capabilities ?? (known ? catalogueCapabilities(known.modalities?.input) : DEFAULT_CAPABILITIES),
    ),
    groups: entry.groups,
    apis: new Set(entry.api ?? (isResponsesOnly ? ['responses'] : provider && 'api' in provider ? provider.api : [])),
    explore: entry.explore,
    ...(entry.size_b !== undefined && { sizeB: entry.size_b }),
    ...(entry.open_weights !== undefined && { openWeights: entry.open_weights }),
    ...(entry.reasoning !== undefined && { reasoning: entry.reasoning }),
    ...arm(entry, model, known?.release_date),
    benchmarks: entry.benchmarks,
    ...(entry.defaults && { defaults: entry.defaults }),
    ...(dialect && { dialect }),
  }
}

/** How it is asked to think, and what is known of it: fields left out say nothing. `listed`: when it came out. */
function arm(
  entry: CandidateConfig,
  model: string,
  listed: string | undefined,
): Pick<Candidate, 'thinking' | 'effort' | 'ability' | 'verbosity' | 'released'> {
  const { reasoning_effort: asked, thinking: budget } = entry.defaults ?? {}
  const effort = entry.effort ?? (typeof asked === 'string' ? asked : undefined)
  const type = (budget as { type?: unknown } | undefined)?.type
  const known = knownModel(entry.known_as ?? model) ?? knownModel(entry.name)
  const stated = entry.thinking ?? (type === 'enabled' ? true : type === 'disabled' ? false : undefined)
  const thinking = stated ?? (effort === undefined ? known?.thinks : undefined)
  const verbosity = entry.verbosity === undefined ? known?.verbosity : { [effort ?? 'default']: entry.verbosity }
  const released = yearOf(entry.released ?? known?.released ?? listed)
  return {
    ...(thinking !== undefined && { thinking }),
    ...(effort !== undefined && { effort }),
    ...(known && { ability: known.ability }),
    ...(verbosity && { verbosity }),
    ...(released !== undefined && { released }),
  }
}

function dialectOf(provider: string, model: string, { providers, dialects }: Config): Dialect | undefined {
  const entry = providers[provider]
  const named = entry && 'dialect' in entry ? entry.dialect : undefined
  const config = dialects[named ?? provider]
  return config && dialectFor(config, model)
}

/** "meta-llama/llama-3.1-8b" is meta-llama's, wherever it is served. */
function vendorOf(model: string, provider: string): string {
  const slash = model.indexOf('/')
  return slash > 0 ? model.slice(0, slash) : provider
}

type PriceConfig = NonNullable<CandidateConfig['price']>

function priceOf({ above = [], ...rates }: PriceConfig): Price {
  const tiers = above.toSorted((a, b) => a.tokens - b.tokens)
  return {
    ...ratesOf(rates),
    ...(tiers.length > 0 && { above: tiers.map(({ tokens, ...own }) => ({ tokens, ...ratesOf(own) })) }),
  }
}

const ratesOf = ({ input, output, cached_input, cache_write }: Omit<PriceConfig, 'above'>): Rates => ({
  input,
  output,
  ...(cached_input !== undefined && { cachedInput: cached_input }),
  ...(cache_write !== undefined && { cacheWrite: cache_write }),
})

/** The price that the catalogue knows. */
export function listedPrice(known: ListedModel | undefined): Price | null {
  const cost = known?.cost
  return cost ? priceOf({ ...configured(cost), above: tiersOf(cost) }) : null
}

type Cost = Omit<NonNullable<ListedModel['cost']>, 'tiers' | 'context_over_200k'>

const configured = ({ input, output, cache_read, cache_write }: Cost) => ({
  input,
  output,
  ...(cache_read !== undefined && { cached_input: cache_read }),
  ...(cache_write !== undefined && { cache_write }),
})

function tiersOf({ tiers, context_over_200k: over }: NonNullable<ListedModel['cost']>) {
  if (!tiers) return over ? [{ tokens: 200_000, ...configured(over) }] : []
  return tiers.flatMap(({ tier, ...cost }) =>
    tier.type === 'context' ? [{ tokens: tier.size, ...configured(cost) }] : [],
  )
}

function catalogueCapabilities(inputs: readonly string[] = []): Capability[] {
  const lacks = new Set<Capability>()
  if (!inputs.includes('image')) lacks.add('vision')
  if (!inputs.includes('audio')) lacks.add('audio')
  return CAPABILITIES.filter((capability) => !lacks.has(capability))
}
