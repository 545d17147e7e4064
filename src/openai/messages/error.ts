import { ownOf } from '../../runtime/own.ts'
import type { OpenAIError } from '../error.ts'

/** Anthropic's words for what our codes and types say. */
const BY_CODE: Record<string, string> = {
  invalid_api_key: 'authentication_error',
  model_not_found: 'not_found_error',
  unknown_url: 'not_found_error',
  request_too_large: 'request_too_large',
  insufficient_quota: 'billing_error',
  rate_limit_exceeded: 'rate_limit_error',
  overloaded: 'overloaded_error',
  no_candidate_available: 'overloaded_error',
  upstream_timeout: 'timeout_error',
  timeout: 'timeout_error',
}
const OWN = new Set([
  'invalid_request_error',
  'authentication_error',
  'billing_error',
  'permission_error',
  'not_found_error',
  'request_too_large',
  'rate_limit_error',
  'timeout_error',
  'api_error',
  'overloaded_error',
])

/** An error as the Messages API tells it: `{ type: "error", error: { type, message } }`. */
export const messagesError = ({ message, type, code }: OpenAIError) => ({
  type: 'error',
  error: { type: (code && ownOf(BY_CODE, code)) || (OWN.has(type) ? type : 'api_error'), message },
})

export const messagesErrorBody = (error: OpenAIError): string => JSON.stringify(messagesError(error))
