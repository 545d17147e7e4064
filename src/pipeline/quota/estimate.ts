import type { Candidate, Rates } from '../../candidates/candidate.ts'
import { ratesAt, writePrice } from '../../candidates/pricing.ts'
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
/**
 * As `promptTokens` counts texts. None has more tokens than bytes: vocabularies are made of bytes, or fall back on
 * them.
 */
const BYTES_PER_TOKEN = 4
/** What providers say of tools, and of the form of an answer, before those themselves (Claude: some 700 tokens). */
const MOST_ADDED_TOKENS = 1_024
/** Of a picture, as `promptTokens` counts it in bytes. */
const COUNTED_OF_PICTURE = 765 * BYTES_PER_TOKEN
/** Share of what is left of a budget that one answer without a bound may reserve, so that others find room, too. */
const SHARE_OF_LEFT = 1 / 8

/** What a request may take of one candidate. Money in billionths of a dollar. */
interface Price {
  /** Likely. */
  promptTokens: number
  /** At most: no prompt has more tokens than bytes. */
  mostPromptTokens: number
  /** At most, and likely. */
  promptNano: number
  likelyNano: number
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
  /** At most, without pictures. */
  most: number
  pictures: number
  isInDetail: boolean
  isForAnHour: boolean
  /** Of a request in another format, its provider may read more than what was made a chat of. */
  given: number
  /** Of its own body, without a candidate's defaults. */
  bound: number | null
}

function askedOf({ request, raw }: Call): Asked {
  const { tokens: attached, most, pictures, isInDetail, isForAnHour, mediaChars } = attachedTo(request)
  const { promptTokens, body } = request
  const bytes = Math.max(promptTokens * BYTES_PER_TOKEN - pictures * COUNTED_OF_PICTURE, 0)
  const given = request.format === undefined ? 0 : raw.length - mediaChars
  const added = body.tools || body.functions || body.response_format ? MOST_ADDED_TOKENS : PROMPT_MARGIN.tokens
  return {
    request,
    estimated: Math.ceil(promptTokens * PROMPT_MARGIN.factor) + PROMPT_MARGIN.tokens + attached,
    attached,
    most: Math.max(bytes + most, given) + added,
    pictures,
    isInDetail,
    isForAnHour,
    given: Math.ceil(given / BYTES_PER_TOKEN),
    bound: boundOf(request.body),
  }
}

function priceOf(asked: Asked, candidate: Candidate): Price {
  const { price, maxOutputTokens, contextWindow, defaults } = candidate
  const { request, estimated, attached, given, pictures, isForAnHour } = asked
  const body = saidOf(request.body, defaults)
  const read = Math.max(estimated, given)
  const isOwnEstimate = attached === 0 && given <= estimated
  const promptTokens = isOwnEstimate ? estimated : Math.max(estimated - attached, Math.min(contextWindow, read))
  const mostOfPictures = pictures === 0 ? 0 : pictures * mostTokensOfPicture(candidate, asked.isInDetail)
  const mostPromptTokens = Math.max(promptTokens, Math.min(contextWindow, asked.most + mostOfPictures))
  const [most, likely] = [ratesAt(price, mostPromptTokens), ratesAt(price, promptTokens)]
  const nanoOfPrompt = (rates: Rates, tokens: number) =>
    (tokens * Math.max(rates.input, writePrice(rates, isForAnHour)) * NANO) / 1e6
  const answers = Math.max(1, Math.min(Math.max(request.answers ?? 1, body.n ?? 1), MOST_ANSWERS))
  const bound = body === request.body ? asked.bound : boundOf(body)
  // Without any other bound an answer ends where the context does.
  const own = Math.min(maxOutputTokens ?? MOST_ANSWER_TOKENS, Math.max(1, contextWindow - request.promptTokens))
  const apart = thoughtsApart(body, own)
  return {
    promptTokens,
    mostPromptTokens,
    promptNano: nanoOfPrompt(most, mostPromptTokens),
    likelyNano: nanoOfPrompt(likely, promptTokens),
    tokenNano: (answers * most.output * NANO) / 1e6,
    answers,
    longest: apart + Math.min(bound ?? own, maxOutputTokens ?? MOST_ANSWER_TOKENS, MOST_ANSWER_TOKENS),
    isBounded: bound !== null || apart > 0,
  }
}

/** Of a picture: what most servers make of one of any size, and those that make more of it. */
function mostTokensOfPicture({ model }: Candidate, isInDetail: boolean): number {
  // GPT-4o mini, eight tiles of 5,667 and 2,833: https://platform.openai.com/docs/guides/images-vision
  if (/4o-mini/i.test(model)) return 48_169
  // Qwen-VL, 16,384 patches unless its server bounds them: https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct
  if (/qwen/i.test(model)) return 16_384
  // OpenAI's `original`, 10,000 patches; Claude: https://platform.claude.com/docs/en/build-with-claude/vision
  return isInDetail ? 10_000 : 4_784
}

/**
 * Thoughts that the bound of an answer does not count:
 * https://docs.siliconflow.com/en/userguide/capabilities/reasoning
 */
function thoughtsApart({ thinking_budget: budget, enable_thinking: isOn }: ChatBody, own: number): number {
  if (typeof budget === 'number') return Math.max(0, Math.min(Math.ceil(budget), MOST_ANSWER_TOKENS))
  return isOn === true ? Math.min(own, MOST_ANSWER_TOKENS) : 0
}

const SAYS_LENGTH = ['n', 'max_tokens', 'max_completion_tokens', 'thinking_budget', 'enable_thinking']

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
export const usualOf = (call: Call, candidate: Candidate): Amounts =>
  usual(call, candidate, ({ promptNano }) => promptNano)

/** The same with a prompt of usual characters: what is told where no budget has to hold. */
export const likelyOf = (call: Call, candidate: Candidate): Amounts =>
  usual(call, candidate, ({ likelyNano }) => likelyNano)

function usual(call: Call, candidate: Candidate, ofPrompt: (price: Price) => number): Amounts {
  const asked = askedOf(call)
  const price = priceOf(asked, candidate)
  const tokens = price.isBounded ? price.longest : Math.min(price.longest, USUAL_ANSWER_TOKENS)
  const promptNano = ofPrompt(price)
  return { requests: 1, tokens: tokensOf(asked, price), nanoUsd: nanoFor({ ...price, promptNano }, tokens) }
}

/** Rates count an answer without a bound as a usual one: what it came to is counted when it has ended. */
function tokensOf({ bound }: Asked, { promptTokens, answers, longest, isBounded }: Price): number {
  const wanted = Math.min(bound ?? longest, MOST_ANSWER_TOKENS)
  return promptTokens + answers * (isBounded ? wanted : Math.min(longest, USUAL_ANSWER_TOKENS))
}

/** What is left of the nearest limit, as far as is known; others may have given back since. Null: unknown, or none. */
export interface Left {
  nanoUsd: number | null
  tokens: number | null
}

/** What is reserved, and what is likely to be used of it: what is told meanwhile of what is left. */
export interface ToReserve {
  amounts: Amounts
  likely: Amounts
}

/**
 * What to reserve, so that any of `candidates` may answer: as much as the longest prompt and answer cost. An answer
 * without a bound reserves less where its budget is short, and gets a bound then (`mostTokens`). Of tokens a minute a
 * prompt reserves more than is likely only where there is room.
 *
 * @param isTold the store has just told what is left: a usual answer does not fit, and gets what there is
 */
export function toReserve(call: Call, candidates: readonly Candidate[], left: Left, isTold: boolean): ToReserve {
  const asked = askedOf(call)
  let [tokens, mostTokens, nanoUsd, usual, likely, least] = [0, 0, 0, 0, 0, Number.POSITIVE_INFINITY]
  for (const candidate of candidates) {
    const price = priceOf(asked, candidate)
    tokens = Math.max(tokens, tokensOf(asked, price))
    mostTokens = Math.max(mostTokens, tokensOf(asked, price) - price.promptTokens + price.mostPromptTokens)
    nanoUsd = Math.max(nanoUsd, nanoFor(price, price.longest))
    const ofUsual = nanoFor(price, price.isBounded ? price.longest : Math.min(price.longest, USUAL_ANSWER_TOKENS))
    usual = Math.max(usual, ofUsual)
    likely = Math.max(likely, ofUsual - Math.floor(price.promptNano - price.likelyNano))
    least = Math.min(least, leastNano(price))
  }
  if (left.nanoUsd !== null && nanoUsd > left.nanoUsd * SHARE_OF_LEFT) {
    const fair = Math.min(nanoUsd, Math.max(Math.floor(left.nanoUsd * SHARE_OF_LEFT), usual))
    nanoUsd = isTold && fair > left.nanoUsd && least <= left.nanoUsd ? left.nanoUsd : fair
  }
  const room = left.tokens === null ? 0 : Math.max(0, Math.floor((left.tokens - tokens) * SHARE_OF_LEFT))
  return {
    amounts: { requests: 1, tokens: Math.min(mostTokens, tokens + room), nanoUsd },
    likely: { requests: 1, tokens, nanoUsd: Math.min(nanoUsd, likely) },
  }
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
