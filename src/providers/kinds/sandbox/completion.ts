import type OpenAI from 'openai'
import type { ChatBody } from '../../../openai/chat.ts'
import type { Answer } from './answer.ts'

type FinishReason = 'stop' | 'length' | 'tool_calls'

export interface Choice extends Answer {
  finishReason: FinishReason
  /** The content in the pieces that are streamed; each counts as a token. */
  tokens: string[]
}

export interface CompletionHead {
  id: string
  created: number
  model: string
  system_fingerprint: 'sandbox'
}

/** Words, at most eight letters a piece, and signs: about what a real vocabulary makes of English. */
const TOKEN = /\s*(?:[\p{L}\p{N}]{1,8}|[^\s\p{L}\p{N}])|\s+$/gu

export const tokenize = (text: string): string[] => text.match(TOKEN) ?? []

/** Applies `stop` and the token limit. */
export function finish(answer: Answer, body: ChatBody): Choice {
  if (answer.content === null) return { ...answer, tokens: [], finishReason: 'tool_calls' }
  const stops = [body.stop].flat().filter((stop): stop is string => typeof stop === 'string' && stop !== '')
  const ends = stops.map((stop) => (answer.content as string).indexOf(stop)).filter((at) => at >= 0)
  const content = ends.length > 0 ? answer.content.slice(0, Math.min(...ends)) : answer.content
  const all = tokenize(content)
  const limit = body.max_completion_tokens ?? body.max_tokens ?? Number.POSITIVE_INFINITY
  const tokens = all.slice(0, limit)
  return { ...answer, content: tokens.join(''), tokens, finishReason: all.length > limit ? 'length' : 'stop' }
}

export function countUsage(body: ChatBody, choices: readonly Choice[]): OpenAI.CompletionUsage {
  const prompt = tokenize(JSON.stringify([body.messages, body.tools ?? []])).length
  const completion = choices.reduce(
    (sum, { tokens, toolCalls }) =>
      sum + tokens.length + tokenize(JSON.stringify(toolCalls)).length * Math.sign(toolCalls.length),
    0,
  )
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

export function completion(
  head: CompletionHead,
  choices: readonly Choice[],
  usage: OpenAI.CompletionUsage,
): OpenAI.ChatCompletion {
  return {
    ...head,
    object: 'chat.completion',
    choices: choices.map(({ content, toolCalls, finishReason }, index) => ({
      index,
      message: { role: 'assistant', content, refusal: null, ...(toolCalls.length > 0 && { tool_calls: toolCalls }) },
      logprobs: null,
      finish_reason: finishReason,
    })),
    usage,
  }
}

/** The same as events: word by word, choices in turn, usage last. */
export function* completionChunks(
  head: CompletionHead,
  choices: readonly Choice[],
  usage: OpenAI.CompletionUsage,
): Generator<OpenAI.ChatCompletionChunk> {
  const chunk = (
    index: number,
    delta: OpenAI.ChatCompletionChunk.Choice.Delta,
    finish_reason: FinishReason | null = null,
  ): OpenAI.ChatCompletionChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index, delta, logprobs: null, finish_reason }],
  })
  for (const index of choices.keys())
    yield chunk(index, { role: 'assistant', content: choices[index]?.content === null ? null : '' })
  for (const [index, { tokens, toolCalls }] of choices.entries()) {
    for (const content of tokens) yield chunk(index, { content })
    for (const [at, call] of toolCalls.entries()) {
      yield chunk(index, {
        tool_calls: [
          { index: at, id: call.id, type: 'function', function: { name: call.function.name, arguments: '' } },
        ],
      })
      for (const piece of tokenize(call.function.arguments)) {
        yield chunk(index, { tool_calls: [{ index: at, function: { arguments: piece } }] })
      }
    }
  }
  for (const [index, { finishReason }] of choices.entries()) yield chunk(index, {}, finishReason)
  yield { ...head, object: 'chat.completion.chunk', choices: [], usage }
}
