import type { OpenAIError } from './error.ts'

const CODES = new Set(['invalid_encrypted_content', 'previous_response_not_found', 'item_not_found'])

/**
 * Providers' words for thoughts that they have not made, and for responses and items that they do not have. OpenAI:
 * "Item with id 'rs_…' not found.", "Item 'fc_…' of type 'function_call' was provided without its required 'reasoning'
 * item". Anthropic: "Invalid `signature` in `thinking` block", "Expected `thinking` or `redacted_thinking`".
 */
const WORDS =
  /encrypted[_ ]content|could not (?:be )?decrypt|previous[_ ]response|item with id|response with id|without its required|signature[^.]{0,40}thinking|thinking[^.]{0,40}signature|expected `thinking`|thinking` or `redacted_thinking` blocks/i

/** Whether a provider could not read what another one has made, or has lost what it made itself. */
export const isUnreadable = ({ code, message }: Pick<OpenAIError, 'code' | 'message'>): boolean =>
  CODES.has(code ?? '') || WORDS.test(message)
