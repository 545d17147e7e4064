import type { Candidate } from '../candidates/candidate.ts'
import { causeOf, codeOf } from '../runtime/error-cause.ts'
import { fairTimeout } from '../runtime/fair-timer.ts'
import { probe } from './forward/probe.ts'
import { type Provider, UpstreamError } from './provider.ts'

const LIST_MS = 10_000

/** What a provider says when it is asked. */
export interface Tried {
  isGood: boolean
  /** For operators: neither keys nor what the provider wrote. */
  detail: string
  /** Models of candidates that it does not list. */
  unlisted: string[]
  /** It took the connection, and closed it without an answer. */
  isCutOff: boolean
}

/**
 * Asks a provider whether it lists its models and takes the key, by a request for a few tokens of its cheapest
 * candidate: some list their models to everybody.
 */
export async function tryProvider(provider: Provider, candidates: readonly Candidate[]): Promise<Tried> {
  const listed = await list(provider)
  const models = Array.isArray(listed) ? listed : null
  const unlisted = models ? candidates.filter(({ model }) => !models.includes(model)).map(({ model }) => model) : []
  const cheapest = candidates
    .filter(({ model }) => !unlisted.includes(model))
    .sort((a, b) => a.price.output - b.price.output)[0]
  if (!cheapest) {
    if (models) return { isGood: true, detail: `lists ${models.length} models`, unlisted, isCutOff: false }
    const detail = listed instanceof Error ? faultOf(listed) : 'has no candidate to ask for'
    return { isGood: false, detail, unlisted, isCutOff: isReset(listed) }
  }
  const lists = models ? `, lists ${models.length} models` : ''
  try {
    const status = await probe(cheapest, provider)
    const detail = `${cheapest.model}: ${verdictOf(status)}${lists}`
    return { isGood: status < 400, detail, unlisted, isCutOff: false }
  } catch (error) {
    return { isGood: false, detail: faultOf(error), unlisted, isCutOff: isReset(error) }
  }
}

async function list(provider: Provider): Promise<string[] | Error | null> {
  if (!provider.listModels) return null
  try {
    return (await provider.listModels(fairTimeout(LIST_MS))).map(({ id }) => id)
  } catch (error) {
    return error as Error
  }
}

function verdictOf(status: number): string {
  if (status < 400) return 'answers'
  if (status === 401 || status === 403) return `refuses the key (${status})`
  if (status === 402) return `wants to be paid (${status})`
  if (status === 404) return `there is no such model, or base_url is wrong (${status})`
  if (status === 429) return `too many requests, or no credit (${status})`
  return status < 500 ? `refuses the request (${status})` : `fails (${status})`
}

const isReset = (error: unknown) => error instanceof UpstreamError && error.fault === 'reset'

function faultOf(error: unknown): string {
  if (!(error instanceof UpstreamError)) return causeOf(error)
  return codeOf(error) === undefined ? error.message : `${error.message}: ${causeOf(error.cause)}`
}
