import { ownOf } from '../../runtime/own.ts'
import { errorBody, type OpenAIError } from '../error.ts'

/** Fields of chat completions, and what clients of the Responses format call them. */
const WORDS: Readonly<Record<string, string>> = {
  messages: 'input',
  max_completion_tokens: 'max_output_tokens',
  max_tokens: 'max_output_tokens',
  response_format: 'text.format',
  reasoning_effort: 'reasoning.effort',
  verbosity: 'text.verbosity',
}

/** An error's body, with the field as the client wrote it. */
export const responsesErrorBody = ({ message, type, param, code }: OpenAIError): string =>
  errorBody({ message, type, code, param: inResponsesWords(param) })

/** The field of an error's `param` as the client wrote it; a place in converted messages is nowhere in its request. */
export function inResponsesWords(param: string | null): string | null {
  if (param === null) return null
  const [field = ''] = param.split(/[.[]/, 1)
  return ownOf(WORDS, field) ?? param
}
