import type Anthropic from '@anthropic-ai/sdk'

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

/** Why the model stopped, in OpenAI's words. The stand-in tool for JSON is an answer, not a call. */
export function finishReason(reason: Anthropic.StopReason | null, jsonAnswer: boolean): FinishReason {
  switch (reason) {
    case 'tool_use':
      return jsonAnswer ? 'stop' : 'tool_calls'
    case 'max_tokens':
    case 'model_context_window_exceeded':
      return 'length'
    case 'refusal':
      return 'content_filter'
    default:
      return 'stop'
  }
}
