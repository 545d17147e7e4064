import type { Usage } from '../candidates/usage.ts'

/** Characters a token: English prose has about 4.3 in today's vocabularies, code and other scripts fewer. */
const CHARS_PER_TOKEN = 4

export const estimateTokens = (chars: number): number => Math.ceil(chars / CHARS_PER_TOKEN)

/**
 * Usage of an answer whose provider did not count, or that broke before the count came.
 *
 * @param promptTokens as estimated from the request
 * @param outputChars characters of text, reasoning and tool arguments seen
 * @param outputEvents events that carried them: a stream has at most about one token an event, so the larger of both
 * estimates holds
 */
export function estimateUsage(promptTokens: number, outputChars: number, outputEvents = 0): Usage {
  return {
    promptTokens,
    completionTokens: Math.max(estimateTokens(outputChars), outputEvents),
    cachedTokens: 0,
    cacheWriteTokens: 0,
    reasoningTokens: 0,
  }
}
