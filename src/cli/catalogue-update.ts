import { renameSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fetchModels } from 'tokenlens/fetch'
import type { Candidate } from '../candidates/candidate.ts'
import { listCandidates } from '../candidates/catalogue.ts'
import { type PriceFile, PriceList, priceFileSchema, readPrices } from '../candidates/price-list.ts'
import type { Config } from '../config/schema.ts'
import { causeOf } from '../runtime/error-cause.ts'
import { makeFolder } from '../runtime/make-folder.ts'
import { fail, readNamed } from './fail.ts'

const FETCH_MS = 30_000
const DAY_MS = 86_400_000

/**
 * Fetches a catalogue and puts it where gateways look for it. What is no catalogue, or holds less than half of the one
 * in use, leaves that as it is.
 *
 * @param from address or file; `catalogue.source` where left out, else what tokenlens asks
 * @returns what has changed, for a terminal
 */
export async function updateCatalogue(config: Config, from = config.catalogue.source): Promise<string> {
  const file = resolve(config.catalogue.file)
  const before = readPrices(file)
  const fetched: PriceFile = {
    fetched_at: new Date().toISOString(),
    source: from ?? 'models.dev',
    providers: providersOf(await read(from), from),
  }
  const after = new PriceList(fetched.providers, fetched.source, Date.now())
  if (after.size < before.size / 2) {
    fail(`${fetched.source} has ${after.size} models, and what is in use has ${before.size}: not taken.`)
  }
  makeFolder(dirname(file))
  writeFileSync(`${file}.new`, JSON.stringify(fetched))
  renameSync(`${file}.new`, file)
  const changes = changedPrices(config, before, after)
  return [
    `${file}: ${after.size} models from ${fetched.source}; before, ${before.size} from ${before.source}.`,
    ...(changes.length > 0 ? ['Prices that change here, dollars per million tokens, input and output:'] : []),
    ...changes.map((change) => `  ${change}`),
    '',
  ].join('\n')
}

/** Which catalogue is in use, and each candidate's price. */
export function describePrices(config: Config): string {
  const prices = readPrices(config.catalogue.file)
  const { candidates, off } = completed(config, prices)
  return [
    ageLine(prices),
    ...candidates.map(
      ({ name, price }) => `  ${name}: ${shown(price)}${isStated(config, name) ? ', as configured' : ''}`,
    ),
    ...off.map(({ name, why }) => `  ${name}: ${why}`),
    '',
  ].join('\n')
}

/** Where prices are from, and how old they are. */
export function ageLine(prices: PriceList): string {
  const days = Math.floor((Date.now() - prices.asOf) / DAY_MS)
  const date = new Date(prices.asOf).toISOString().slice(0, 10)
  const hint = days > 30 ? '; newer ones: persona-router catalogue update' : ''
  return `Catalogue of prices: ${prices.source}, ${prices.size} models, as of ${date} (${days} days old)${hint}.`
}

async function read(from: string | undefined): Promise<unknown> {
  if (from !== undefined && !/^https?:/.test(from)) return readFileAsJson(from)
  return fetchModels({
    ...(from !== undefined && { baseUrl: from }),
    fetch: (url) =>
      fetch(url, { signal: AbortSignal.timeout(FETCH_MS) }).catch((error) =>
        fail(`${from ?? 'models.dev'} can't be asked: ${causeOf(error)}.`),
      ),
  }).catch((error: Error) => fail(`No catalogue from ${from ?? 'models.dev'}: ${error.message.slice(0, 200)}`))
}

function readFileAsJson(file: string): unknown {
  const text = readNamed(file)
  try {
    return JSON.parse(text)
  } catch {
    return fail(`${file} is no JSON.`)
  }
}

/** A file that an earlier update wrote is as good as what it was made of. */
function providersOf(json: unknown, from = 'models.dev'): PriceFile['providers'] {
  const wrapped = priceFileSchema.safeParse(json)
  if (wrapped.success) return wrapped.data.providers
  const parsed = priceFileSchema.shape.providers.safeParse(json)
  if (!parsed.success) return fail(`What ${from} has is no catalogue in the format of models.dev.`)
  return parsed.data
}

function changedPrices(config: Config, before: PriceList, after: PriceList): string[] {
  const old = new Map(completed(config, before).candidates.map(({ name, price }) => [name, price]))
  return completed(config, after).candidates.flatMap(({ name, price }) => {
    const was = old.get(name)
    if (was && shown(was) === shown(price)) return []
    return [`${name}: ${was ? shown(was) : 'none'} -> ${shown(price)}`]
  })
}

const completed = (config: Config, prices: PriceList) => listCandidates(config, new Map(), [], prices)

const isStated = ({ candidates }: Config, name: string) =>
  candidates.find((candidate) => candidate.name === name)?.price !== undefined

const shown = ({ input, output, cachedInput }: Candidate['price']) =>
  `${input} / ${output}${cachedInput === undefined ? '' : `, cached ${cachedInput}`}`
