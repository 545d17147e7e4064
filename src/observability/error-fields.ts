import { inSources } from './source-places.ts'

const MAX_MESSAGE_CHARS = 1_000
const MAX_CAUSES = 5
/** What they tell is outside of this program, and in words: where they were thrown mends nothing. */
const TOLD_IN_WORDS = new Set(['StoreError', 'UpstreamError'])

/** An error as the log has it. */
export interface ErrorFields {
  type: string
  message?: string
  code?: string
  /** Frames alone: what V8 puts above them repeats the message. None of errors that are told in words. */
  stack?: string
  cause?: ErrorFields
}

/**
 * Kind, message, place and causes of an error, and nothing else of it: errors of libraries carry what they are about,
 * such as the arguments of a Redis command or bytes that did not parse. A `SyntaxError` quotes the text in its message.
 */
export function errorFields(error: unknown, causes = MAX_CAUSES): ErrorFields {
  if (!(error instanceof Error)) return { type: typeof error }
  const { name, message, stack, cause } = error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const frames = TOLD_IN_WORDS.has(name) ? null : stack?.replace(message, '').match(/^ {4}at .+$/gm)
  return {
    type: name,
    ...(!(error instanceof SyntaxError) && { message: message.slice(0, MAX_MESSAGE_CHARS) }),
    ...(code !== undefined && { code }),
    ...(frames && { stack: inSources(frames.join('\n')) }),
    ...(cause !== undefined && causes > 0 && { cause: errorFields(cause, causes - 1) }),
  }
}
