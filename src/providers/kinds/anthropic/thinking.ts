import type Anthropic from '@anthropic-ai/sdk'
import type { ChatBody } from '../../../openai/chat.ts'
import { ownOf } from '../../../runtime/own.ts'
import type { Dialect } from './generation.ts'

export interface Thinking {
  thinking?: Anthropic.ThinkingConfigParam
  effort?: NonNullable<Anthropic.OutputConfig['effort']>
  /** Tokens to allow in all, thoughts included. */
  maxTokens: number
}

type Effort = 'low' | 'medium' | 'high'

const EFFORTS: Record<string, Effort> = { minimal: 'low', low: 'low', medium: 'medium', high: 'high', xhigh: 'high' }
/** Of the client's own limit, as OpenRouter has it; and where there is none, in tokens. */
const SHARE: Record<Effort, number> = { low: 0.2, medium: 0.5, high: 0.8 }
const BUDGET: Record<Effort, number> = { low: 2_048, medium: 8_192, high: 24_576 }
/** The API's own minimum. */
const MIN_BUDGET = 1_024
const MAX_BUDGET = 32_000

export interface TokenLimits {
  defaultMaxTokens: number
  modelMaxTokens: number | undefined
  /** Forced tools, or a tool loop whose thoughts the client did not send back: the API refuses to think then. */
  mayThink: boolean
}

/**
 * OpenAI's `reasoning_effort` as thinking. OpenAI's token limit includes thoughts, and so does Anthropic's; the default
 * limit does not, so that an answer is left when the thinking is done.
 */
export function thinking(body: ChatBody, dialect: Dialect, limits: TokenLimits): Thinking {
  const wanted = body.max_completion_tokens ?? body.max_tokens ?? undefined
  const cap = limits.modelMaxTokens ?? Number.POSITIVE_INFINITY
  const plain = { maxTokens: Math.min(wanted ?? limits.defaultMaxTokens, cap) }
  const asked = body.reasoning_effort
  const effort = typeof asked === 'string' ? ownOf(EFFORTS, asked) : undefined
  if (asked === 'none')
    return dialect.thinksByDefault && !dialect.thinksAlways ? { ...plain, thinking: { type: 'disabled' } } : plain
  if (effort === undefined || dialect.thinking === 'none' || !limits.mayThink) return plain
  if (dialect.thinking === 'adaptive') {
    return {
      thinking: { type: 'adaptive', display: 'summarized' },
      effort: asked === 'xhigh' ? 'xhigh' : effort,
      maxTokens: Math.min(wanted ?? limits.defaultMaxTokens + BUDGET[effort], cap),
    }
  }
  const maxTokens = Math.min(wanted ?? limits.defaultMaxTokens + BUDGET[effort], cap)
  const share = wanted === undefined ? Math.min(BUDGET[effort], maxTokens * SHARE.high) : wanted * SHARE[effort]
  const budget = Math.floor(Math.min(MAX_BUDGET, Math.max(MIN_BUDGET, share)))
  return budget < maxTokens ? { thinking: { type: 'enabled', budget_tokens: budget }, maxTokens } : plain
}
