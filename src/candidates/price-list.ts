import { readFileSync } from 'node:fs'
import { z } from 'zod'

const dollars = z.number().nonnegative()

const rates = { input: dollars, output: dollars, cache_read: dollars.optional(), cache_write: dollars.optional() }

/** A model of the catalogue, in the format of models.dev; what is not read is left out. */
const listedModelSchema = z.object({
  name: z.string().optional(),
  open_weights: z.boolean().optional(),
  /** Dollars per million tokens. */
  cost: z
    .object({
      ...rates,
      /**
       * Of long prompts: by how many tokens they have, and as it was told before. What is told in another way must not
       * make the model unknown.
       */
      tiers: z
        .array(z.object({ ...rates, tier: z.object({ type: z.string(), size: z.number().positive() }) }))
        .optional()
        .catch(undefined),
      context_over_200k: z.object(rates).optional().catch(undefined),
    })
    .optional(),
  limit: z.object({ context: z.number().optional(), output: z.number().optional() }).optional(),
  modalities: z.object({ input: z.array(z.string()).optional() }).optional(),
  /** When it came out. */
  release_date: z.string().optional(),
  last_updated: z.string().optional(),
})

const providerSchema = z.object({ api: z.string().optional(), models: z.record(z.string(), z.unknown()) })

/** What `persona-router catalogue update` writes. */
export const priceFileSchema = z.object({
  fetched_at: z.iso.datetime(),
  source: z.string(),
  providers: z.record(z.string(), providerSchema),
})

export type PriceFile = z.output<typeof priceFileSchema>
export type ListedModel = z.output<typeof listedModelSchema>

/** What a candidate is looked up by. */
export interface Wanted {
  /** Name of its provider in the configuration. */
  provider: string
  baseUrl?: string | undefined
  /** The provider's own name of the model; then other names that it may be known by. */
  names: readonly string[]
  /** A server of one's own: what others charge for the same weights says nothing. */
  isLocal: boolean
}

/** Those that sell models of their own making: whoever resells one that is not open asks the same, as a rule. */
const MAKERS = ['openai', 'anthropic', 'google', 'xai', 'mistral', 'deepseek', 'cohere', 'moonshotai', 'zai', 'alibaba']

/** Public models with prices, windows and abilities: the npm package's, or what was fetched since. */
export class PriceList {
  /** Where it is from, for operators. */
  readonly source: string
  /** Unix milliseconds: when it was fetched, or its newest entry. */
  readonly asOf: number
  readonly #providers: Readonly<Record<string, z.output<typeof providerSchema>>>

  constructor(providers: Readonly<Record<string, z.output<typeof providerSchema>>>, source: string, asOf?: number) {
    this.#providers = providers
    this.source = source
    this.asOf = asOf ?? newestOf(providers)
  }

  /** Number of entries. */
  get size(): number {
    return Object.values(this.#providers).reduce((sum, { models }) => sum + Object.keys(models).length, 0)
  }

  /**
   * The entry of the same provider, by its name or its address; else the maker's, where only the maker sets the price;
   * else the one that all who charge for the model agree on.
   */
  find({ provider, baseUrl, names, isLocal }: Wanted): ListedModel | undefined {
    const own = [this.#providers[provider], ...(baseUrl ? this.#at(baseUrl) : [])]
    for (const name of names) {
      const model = own.map((entry) => modelOf(entry, name)).find(Boolean) ?? (isLocal ? undefined : this.#sold(name))
      if (model) return model
    }
    return undefined
  }

  #at(baseUrl: string) {
    const host = hostOf(baseUrl)
    return Object.values(this.#providers).filter(
      ({ api }) => host !== null && api !== undefined && hostOf(api) === host,
    )
  }

  #sold(name: string): ListedModel | undefined {
    const slash = name.indexOf('/')
    const maker = slash > 0 ? name.slice(0, slash) : null
    const plain = name.slice(slash + 1)
    for (const one of maker ? [maker] : MAKERS) {
      const model = modelOf(this.#providers[one], plain)
      if (model?.cost && costs(model) && !model.open_weights) return model
    }
    const sold = Object.values(this.#providers).flatMap((entry) => {
      const model = modelOf(entry, name)
      return model && costs(model) ? [model] : []
    })
    const [first] = sold
    return sold.every(({ cost }) => cost?.input === first?.cost?.input && cost?.output === first?.cost?.output)
      ? first
      : undefined
  }
}

const costs = ({ cost }: ListedModel) => cost !== undefined && (cost.input > 0 || cost.output > 0)

function modelOf(provider: z.output<typeof providerSchema> | undefined, name: string): ListedModel | undefined {
  if (!provider || !Object.hasOwn(provider.models, name)) return undefined
  const parsed = listedModelSchema.safeParse(provider.models[name])
  if (!parsed.success) return undefined
  const { cost } = parsed.data
  if (cost?.cache_read === undefined) return parsed.data
  return { ...parsed.data, cost: { ...cost, cache_read: unrounded(cost.cache_read, cost.input) } }
}

/** Prices of cached tokens are simple shares of the input's (OpenAI's price list: a tenth, a quarter, a half). */
const CACHED_SHARES = [0.1, 0.25, 0.5]

/** The catalogue rounds to cents: 0.03 stands for a tenth of 0.25. */
function unrounded(cached: number, input: number): number {
  const cents = (value: number) => Math.round((value + Number.EPSILON) * 100) / 100
  if (cents(cached) !== cached || cached === 0) return cached
  const shares = CACHED_SHARES.map((share) => Number((input * share).toPrecision(12)))
  return shares.find((exact) => exact === cached) ?? shares.find((exact) => cents(exact) === cached) ?? cached
}

function newestOf(providers: Readonly<Record<string, z.output<typeof providerSchema>>>): number {
  let newest = 0
  for (const { models } of Object.values(providers)) {
    for (const model of Object.values(models)) {
      const updated = Date.parse((model as { last_updated?: string } | null)?.last_updated ?? '')
      if (updated > newest) newest = updated
    }
  }
  return newest
}

function hostOf(url: string): string | null {
  return URL.canParse(url) ? new URL(url).host : null
}

/** What is read here of the package `tokenlens`, whose own code takes 40 ms and 9 MB of a start (a test writes it). */
const BUNDLED = new URL('../../config/prices.json', import.meta.url)

/** The one that comes with the gateway. */
export const bundledPrices = new PriceList(
  JSON.parse(readFileSync(BUNDLED, 'utf8')) as PriceFile['providers'],
  'the catalogue of this release',
)

/** Why a fetched catalogue can't be used. */
export class PriceFileError extends Error {
  override readonly name = 'PriceFileError'
}

/**
 * What `catalogue update` has fetched, or else what comes with the gateway, whichever is newer.
 *
 * @throws PriceFileError for a file that is there, and no catalogue
 */
export function readPrices(file: string): PriceList {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return bundledPrices
    throw new PriceFileError(`${file} can't be read: ${code}`)
  }
  const fetched = parsePriceFile(file, text)
  const list = new PriceList(fetched.providers, fetched.source, Date.parse(fetched.fetched_at))
  return list.asOf >= bundledPrices.asOf ? list : bundledPrices
}

function parsePriceFile(file: string, text: string): PriceFile {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new PriceFileError(`${file} is no JSON: ${(error as Error).message}`)
  }
  const parsed = priceFileSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new PriceFileError(`${file} is no catalogue: ${issue?.path.join('.')}: ${issue?.message}`)
}
