import { ownOf } from '../runtime/own.ts'

/** What some servers put into every chunk of an answer that goes on. */
const GOES_ON = new Set(['', 'null', 'none', 'undefined'])

/** A finish reason that is one, or null: an empty one, or the word for none, ends nothing. */
export const endOf = (reason: unknown): string | null =>
  typeof reason === 'string' && !GOES_ON.has(reason.trim().toLowerCase()) ? reason : null

const MEANT: Readonly<Record<string, string>> = {
  ...of('stop', 'end_turn endturn eos eos_token end complete completed stop_sequence finished'),
  ...of('length', 'max_tokens max_output_tokens model_length model_context_window_exceeded'),
  ...of('tool_calls', 'tool_use tool_call function_calls'),
  ...of('content_filter', 'safety sensitive recitation blocklist prohibited_content spii refusal'),
}
const KNOWN = new Set(['stop', 'length', 'tool_calls', 'content_filter', 'function_call'])
/** The model, or its server, did not get to an end: what there is of an answer is none. */
const FAILED = new Set(['error', 'network_error', 'insufficient_system_resource', 'malformed_function_call'])

function of(meant: string, words: string): Record<string, string> {
  return Object.fromEntries(words.split(' ').map((word) => [word, meant]))
}

/** A finish reason in OpenAI's words, of which many clients know no others; as it is where it means none of them. */
export function meantBy(reason: unknown): unknown {
  if (typeof reason !== 'string' || KNOWN.has(reason)) return reason
  const word = reason.trim().toLowerCase()
  return KNOWN.has(word) ? word : (ownOf(MEANT, word) ?? reason)
}

export const isFailure = (reason: unknown): boolean =>
  typeof reason === 'string' && FAILED.has(reason.trim().toLowerCase())

/** What is told where a server says no more than that. */
export const BROKE = 'The model failed before its answer was complete.'
