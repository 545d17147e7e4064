import type { Candidate } from '../../candidates/candidate.ts'
import { costUsd } from '../../candidates/pricing.ts'
import type { RetriesConfig, TimeoutsConfig } from '../../config/schema.ts'
import { answerText } from '../../openai/answer-text.ts'
import { estimateUsage } from '../../openai/estimate-tokens.ts'
import { parseChat } from '../../openai/parse-chat.ts'
import { type Breakers, THE_GATEWAY } from '../../providers/forward/breakers.ts'
import { forward } from '../../providers/forward/forward.ts'
import type { Provider } from '../../providers/provider.ts'

/** Candidates, and the way to them. */
export interface Askable {
  candidates: readonly Candidate[]
  providers: ReadonlyMap<string, Provider>
  config: { timeouts: TimeoutsConfig; retries: RetriesConfig }
}

/** How much may be said: who asks a tenant's question again does not know what it makes a model do. */
export interface AnswerBounds {
  maxTokens: number
  /** As the client's request has it. */
  stop?: unknown
}

export interface OwnAnswer {
  text: string
  costUsd: number
  /** It was not cut off. */
  isWhole: boolean
}

/** Asks a candidate, by its name. Rejects when it does not answer. */
export type AskCandidate = (
  candidate: string,
  messages: readonly unknown[],
  signal: AbortSignal,
  bounds: AnswerBounds,
) => Promise<OwnAnswer>

/**
 * One question of the gateway's own to a candidate, outside any tenant's traffic: deadlines, retries and breakers as
 * for all.
 */
export async function askCandidate(
  { candidates, providers, config }: Askable,
  breakers: Breakers,
  name: string,
  messages: readonly unknown[],
  signal: AbortSignal,
  { maxTokens, stop }: AnswerBounds,
): Promise<OwnAnswer> {
  const candidate = candidates.find((other) => other.name === name)
  if (!candidate) throw new Error(`there is no candidate ${name}`)
  const bounds = { max_completion_tokens: maxTokens, ...(stop != null && { stop }) }
  const request = parseChat(Buffer.from(JSON.stringify({ model: name, messages, temperature: 0, ...bounds })))
  const answer = await forward(
    {
      ranking: [candidate],
      request,
      signal,
      requestId: `req_${crypto.randomUUID()}`,
      deadline: performance.now() + config.timeouts.total_ms,
      asker: THE_GATEWAY,
    },
    { providers, breakers, timeouts: config.timeouts, retries: config.retries },
  )
  if (answer.stream || answer.status >= 400) throw new Error(`${name} answered with HTTP ${answer.status}`)
  // A provider that does not count is not free: a budget must end.
  const usage = answer.usage ?? estimateUsage(request.promptTokens, answer.outputChars)
  return {
    text: answerText(answer.body, false),
    costUsd: costUsd(usage, candidate.price),
    isWhole: answer.finishReason !== 'length',
  }
}
