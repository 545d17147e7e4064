import type { OpenAIError } from '../../../openai/error.ts'
import { ownOf } from '../../../runtime/own.ts'

interface AnthropicError {
  type?: unknown
  message?: unknown
}

/** Anthropic's names for errors, and OpenAI's `type`, `code` and the HTTP status they stand for. */
const KINDS: Record<string, { type: string; code: string | null; status: number }> = {
  invalid_request_error: { type: 'invalid_request_error', code: null, status: 400 },
  authentication_error: { type: 'authentication_error', code: 'invalid_api_key', status: 401 },
  billing_error: { type: 'insufficient_quota', code: 'insufficient_quota', status: 402 },
  permission_error: { type: 'permission_error', code: null, status: 403 },
  not_found_error: { type: 'not_found_error', code: 'model_not_found', status: 404 },
  request_too_large: { type: 'invalid_request_error', code: 'request_too_large', status: 413 },
  rate_limit_error: { type: 'rate_limit_error', code: 'rate_limit_exceeded', status: 429 },
  timeout_error: { type: 'api_error', code: 'timeout', status: 504 },
  api_error: { type: 'api_error', code: null, status: 500 },
  overloaded_error: { type: 'api_error', code: 'overloaded', status: 529 },
}

/**
 * `{ type: "error", error: { type, message } }` as OpenAI's error, with the status it stands for (an error in a stream
 * has none of its own).
 */
export function openaiError(json: unknown): OpenAIError & { status: number } {
  const { type, message } = ((json as { error?: AnthropicError } | null)?.error ?? {}) as AnthropicError
  const kind = ownOf(KINDS, String(type)) ?? { type: 'api_error', code: null, status: 500 }
  const text = typeof message === 'string' && message !== '' ? message : 'The model provider had an error.'
  const tooLong = kind.status === 400 && /prompt is too long|context (window|limit)/i.test(text)
  return { ...kind, message: text, param: null, code: tooLong ? 'context_length_exceeded' : kind.code }
}
