import type { Candidate } from '../../candidates/candidate.ts'
import type { ChatBody } from '../../openai/chat.ts'
import { withDefaults } from '../../openai/with-defaults.ts'
import type { Amounts } from '../../store/limits.ts'
import type { Call } from '../call.ts'
import { attachedTo } from './attachments.ts'
import { NANO } from './usd.ts'

/** A length that few answers exceed: what an answer without a bound counts for where it is not money. */
const USUAL_ANSWER_TOKENS = 4_096
/** A shorter answer is none. */
const LEAST_ANSWER_TOKENS = 64
/** A bound above this, `1e400` too, is read as this, so that counters stay finite. */
const MOST_ANSWER_TOKENS = 2 ** 40
/** The same of how many answers; most providers give 128 at most, servers of one's own any number. */
const MOST_ANSWERS = 2 ** 20
/** The estimate of a prompt may be too low: other scripts, other vocabularies, and text that providers add. */
const PROMPT_MARGIN = { factor: 1.5, tokens: 64 }
/** As `promptTokens` counts texts. */
const BYTES_PER_TOKEN = 4
/** Share of what is left of a budget that one answer without a bound may reserve, so that others find room, too. */
const SHARE_OF_LEFT = 1 / 8

/** What a request may take of one candidate. Money in billionths of a dollar. */
interface Price {
  promptTokens: number
  promptNano: number
  /** Of a token of all answers together. */
  tokenNano: number
  answers: number
  /** Tokens of one answer, at most. */
  longest: number
  /** The client, or the candidate's own defaults, have said so. */
  isBounded: boolean
}

/** What a request says whoever answers it. */
interface Asked {
  request: Call['request']
  /** Of texts, with a margin, and of what is attached. */
  estimated: number
  attached: number
  /** More of what is attached than is likely. */
  unlikely: number
  /** Of a request in another format, its provider may read more than what was made a chat of. */
  given: number
  /** Of its own body, without a candidate's defaults. */
  bound: number | null
}

function askedOf({ request, raw }: Call): Asked {
  const { tokens: attached, unlikely, mediaChars } = attachedTo(request)
  return {
    request,
    estimated: Math.ceil(request.promptTokens * PROMPT_MARGIN.factor) + PROMPT_MARGIN.tokens + attached,
    attached,
    unlikely,
    given: request.format === undefined ? 0 : Math.ceil((raw.length - mediaChars) / BYTES_PER_TOKEN),
    bound: boundOf(request.body),
  }
}

function priceOf(asked: Asked, { price, maxOutputTokens, contextWindow, defaults }: Candidate): Price {
  const { request, estimated, attached, unlikely, given } = asked
  const body = saidOf(request.body, defaults)
  const most = Math.max(estimated, given)
  const isOwnEstimate = attached === 0 && given <= estimated
  const promptTokens = isOwnEstimate ? estimated : Math.max(estimated - attached, Math.min(contextWindow, most))
  const mostRead = unlikely === 0 ? promptTokens : Math.min(contextWindow, promptTokens + unlikely)
  const answers = Math.max(1, Math.min(Math.max(request.answers ?? 1, body.n ?? 1), MOST_ANSWERS))
  const bound = body === request.body ? asked.bound : boundOf(body)
  // Without any other bound an answer ends where the context does.
  const own = Math.min(maxOutputTokens ?? MOST_ANSWER_TOKENS, Math.max(1, contextWindow - request.promptTokens))
  return {
    promptTokens,
    promptNano: (Math.max(promptTokens, mostRead) * Math.max(price.input, price.cacheWrite ?? 0) * NANO) / 1e6,
    tokenNano: (answers * price.output * NANO) / 1e6,
    answers,
    longest: Math.min(bound ?? own, maxOutputTokens ?? MOST_ANSWER_TOKENS, MOST_ANSWER_TOKENS),
    isBounded: bound !== null,
  }
}

const SAYS_LENGTH = ['n', 'max_tokens', 'max_completion_tokens']

/** With the candidate's own defaults, where they say how much is written. */
const saidOf = (body: ChatBody, defaults: Candidate['defaults']): ChatBody =>
  defaults && SAYS_LENGTH.some((field) => Object.hasOwn(defaults, field)) ? withDefaults(body, defaults) : body

/** Of two spellings servers differ in which one they read: the larger one counts. */
function boundOf({ max_completion_tokens, max_tokens }: Readonly<Record<string, unknown>>): number | null {
  if (typeof max_completion_tokens !== 'number') return typeof max_tokens === 'number' ? max_tokens : null
  return typeof max_tokens === 'number' ? Math.max(max_completion_tokens, max_tokens) : max_completion_tokens
}

const nanoFor = ({ promptNano, tokenNano }: Price, tokens: number) => Math.ceil(promptNano + tokens * tokenNano)

/** The most that an answer of a candidate could take. */
export function mostOf(call: Call, candidate: Candidate): Amounts {
  const asked = askedOf(call)
  const price = priceOf(asked, candidate)
  return { requests: 1, tokens: tokensOf(asked, price), nanoUsd: nanoFor(price, price.longest) }
}

/** What an answer without a bound takes, if it is not an unusual one. */
export function usualOf(call: Call, candidate: Candidate): Amounts {
  const asked = askedOf(call)
  const price = priceOf(asked, candidate)
  const tokens = price.isBounded ? price.longest : Math.min(price.longest, USUAL_ANSWER_TOKENS)
  return { requests: 1, tokens: tokensOf(asked, price), nanoUsd: nanoFor(price, tokens) }
}

/** Rates count an answer without a bound as a usual one: what it came to is counted when it has ended. */
function tokensOf({ bound }: Asked, { promptTokens, answers, longest, isBounded }: Price): number {
  const wanted = Math.min(bound ?? longest, MOST_ANSWER_TOKENS)
  return promptTokens + answers * (isBounded ? wanted : Math.min(longest, USUAL_ANSWER_TOKENS))
}

/**
 * What to reserve, so that any of `candidates` may answer: as much as the longest answer costs. One without a bound
 * reserves less where its budget is short, and gets a bound then (`mostTokens`).
 *
 * @param left of the budget with the least left, as far as is known; others may have given back since
 * @param isTold the store has just told it: a usual answer does not fit, and gets what there is
 */
export function toReserve(call: Call, candidates: readonly Candidate[], left: number | null, isTold: boolean): Amounts {
  const asked = askedOf(call)
  let [tokens, nanoUsd, usual, least] = [0, 0, 0, Number.POSITIVE_INFINITY]
  for (const candidate of candidates) {
    const price = priceOf(asked, candidate)
    tokens = Math.max(tokens, tokensOf(asked, price))
    nanoUsd = Math.max(nanoUsd, nanoFor(price, price.longest))
    usual = Math.max(
      usual,
      nanoFor(price, price.isBounded ? price.longest : Math.min(price.longest, USUAL_ANSWER_TOKENS)),
    )
    least = Math.min(least, leastNano(price))
  }
  if (left !== null && nanoUsd > left * SHARE_OF_LEFT) {
    const fair = Math.min(nanoUsd, Math.max(Math.floor(left * SHARE_OF_LEFT), usual))
    nanoUsd = isTold && fair > left && least <= left ? left : fair
  }
  return { requests: 1, tokens, nanoUsd }
}

const leastNano = (price: Price) =>
  nanoFor(price, price.isBounded ? price.longest : Math.min(price.longest, LEAST_ANSWER_TOKENS))

/** Those that can answer for so many billionths of a dollar, if shortly. */
export function affordable(call: Call, candidates: readonly Candidate[], nanoUsd: number): Candidate[] {
  const asked = askedOf(call)
  return candidates.filter((candidate) => leastNano(priceOf(asked, candidate)) <= nanoUsd)
}

/** The longest answer that so many billionths of a dollar pay for; null where they pay for any. */
export function mostTokens(call: Call, candidate: Candidate, nanoUsd: number): number | null {
  const price = priceOf(askedOf(call), candidate)
  if (price.isBounded || nanoFor(price, price.longest) <= nanoUsd) return null
  return Math.max(1, Math.floor((nanoUsd - price.promptNano) / price.tokenNano))
}
