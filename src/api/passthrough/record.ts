import type { Candidate, Price } from '../../candidates/candidate.ts'
import { listedPrice } from '../../candidates/catalogue.ts'
import type { PassthroughTarget } from '../../config/schema.ts'
import type { Snapshot } from '../../config/snapshot.ts'
import type { ToldUsage } from '../../openai/told-usage.ts'
import { NO_USAGE } from '../../openai/usage.ts'
import type { RequestContext } from '../../pipeline/context.ts'
import type { Principal } from '../../pipeline/principal.ts'
import { NANO } from '../../pipeline/quota/usd.ts'
import { recordOf } from '../../pipeline/record.ts'
import { givenModel, unroutedCall } from '../../pipeline/unrouted.ts'
import type { InteractionRecord } from '../../store/records/codec.ts'
import type { Target } from './target.ts'

/** How a request that was passed through ended. */
export interface Passed {
  /** That the client saw. */
  status: number
  /** The provider's; null where none came. */
  answered: number | null
  /** Null where it was passed on in whole. */
  error: string | null
  /** Milliseconds until the first byte went to the client, and of waiting for others. */
  ttftMs: number | null
  waitedMs: number
  /** Null where nothing was answered. */
  told: ToldUsage | null
  /** The model that the request names, as far as that was read. */
  model: string | null
}

/** The row of a request that was passed through: the prefix stands where a candidate's name does. */
export function passedRecord(
  context: RequestContext,
  principal: Principal,
  { prefix, config, method }: Target,
  passed: Passed,
): InteractionRecord {
  const { status, answered, error, told, ttftMs, waitedMs } = passed
  const { snapshot } = context
  const model = told?.model ?? passed.model
  const candidate = standIn(prefix, config, model === null ? null : priceOf(snapshot, config, model))
  const record = recordOf(context, unroutedCall('passthrough', principal, candidate, {}), givenModel(candidate), {
    candidate,
    attempts: [
      {
        candidate: prefix,
        provider: config.provider,
        status: answered,
        error: answered !== null && answered >= 300 ? `http_${answered}` : error,
        ms: Math.round(waitedMs),
      },
    ],
    status,
    usage: told?.usage ?? NO_USAGE,
    usageEstimated: false,
    finishReason: error === null ? (status < 400 ? 'stop' : 'error') : error === 'aborted' ? 'aborted' : 'error',
    completionId: null,
    ttftMs,
    waitedMs,
    error,
  })
  const { request = 0, most = 0 } = config.price ?? {}
  const costUsd = record.costUsd + (isBilled(answered) ? request : 0)
  return { ...record, costUsd: isOpenEnd(method, passed) ? Math.max(costUsd, request, most) : costUsd }
}

const isBilled = (status: number | null) => status !== null && status < 400

/** Methods by which something is made, and billed. */
const MAKING: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** What makes something has reached the provider, as far as is known, and nobody was told what came of it. */
function isOpenEnd(method: string, { answered, error, told }: Passed): boolean {
  if (!MAKING.has(method) || error === null || told?.usage) return false
  return answered === null ? error === 'timeout' || error === 'aborted' : isBilled(answered)
}

/** Of what is left of a budget, where nobody has said how much one request may come to. */
const SHARE_OF_LEFT = 1 / 8

/**
 * What is reserved of a budget before anything is known: at most what one request comes to, where the configuration
 * says that. A budget with nothing left refuses.
 *
 * @param left billionths of a dollar, of the budget with the least left; null: not known, or none
 */
export function leastAmounts({ method, config: { price } }: Pick<Target, 'method' | 'config'>, left: number | null) {
  const most = price?.most === undefined ? (left ?? 0) * SHARE_OF_LEFT : price.most * NANO
  const nanoUsd = Math.max((price?.request ?? 0) * NANO, MAKING.has(method) ? most : 0)
  return { requests: 1, tokens: 1, nanoUsd: Math.max(1, Math.round(nanoUsd)) }
}

export const amountsOf = ({ usage, costUsd }: InteractionRecord) => ({
  requests: 1,
  tokens: usage.promptTokens + usage.completionTokens,
  nanoUsd: Math.round(costUsd * NANO),
})

/** As configured for the prefix, else as the model's own candidate has it, else as the catalogue. */
function priceOf(snapshot: Snapshot, { provider, price }: PassthroughTarget, model: string): Price | null {
  if (price) return null
  const all = [...snapshot.candidates, ...snapshot.embeddingModels.map(({ candidate }) => candidate)]
  const own = all.find((one) => one.provider === provider && (one.model === model || one.name === model))
  if (own) return own.price
  const entry = snapshot.config.providers[provider]
  const baseUrl = entry && 'base_url' in entry ? entry.base_url : undefined
  return listedPrice(snapshot.prices.find({ provider, baseUrl, names: [model], isLocal: false }))
}

const standIn = (name: string, { provider, price }: PassthroughTarget, own: Price | null): Candidate => ({
  name,
  provider,
  model: name,
  vendor: provider,
  description: '',
  price: own ?? { input: price?.input ?? 0, output: price?.output ?? 0 },
  contextWindow: Number.MAX_SAFE_INTEGER,
  capabilities: new Set(),
  groups: [],
  explore: false,
  benchmarks: {},
})
