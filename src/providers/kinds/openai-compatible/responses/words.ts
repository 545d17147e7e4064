import { isObject } from '../../../../openai/is-object.ts'
import type { Input } from './items.ts'

const WORDS: Readonly<Record<string, string>> = {
  'reasoning.effort': 'reasoning_effort',
  reasoning: 'reasoning_effort',
  'text.verbosity': 'verbosity',
  'text.format': 'response_format',
}

/** What a field that the Responses API names is called in the request that came. */
type InChatWords = (param: string) => string

export const inChatWords =
  ({ places }: Input, asked: Readonly<Record<string, unknown>>): InChatWords =>
  (param) => {
    const item = /^input\[(\d+)\](.*)$/.exec(param)
    if (item) return `messages[${places[Number(item[1])] ?? 0}]${item[2]}`
    if (param === 'input') return 'messages'
    if (param === 'max_output_tokens')
      return isThere(asked.max_completion_tokens) || !isThere(asked.max_tokens) ? 'max_completion_tokens' : 'max_tokens'
    const found = Object.keys(WORDS).find((name) => param === name || param.startsWith(`${name}.`))
    return found === undefined ? param : `${WORDS[found]}${param.slice(found.length)}`
  }

const isThere = (value: unknown) => value !== undefined && value !== null

/** An error of the Responses API, its field as the client wrote it: in `param`, and where the message quotes it. */
export function chatError(error: unknown, inWords: InChatWords): Record<string, unknown> {
  const { message, type, code, param, ...rest } = isObject(error) ? error : {}
  const said = typeof message === 'string' && message !== '' ? message : 'The model provider had an error.'
  return {
    ...rest,
    message: said.replace(/'([\w.[\]]+)'/g, (_, name: string) => `'${inWords(name)}'`),
    type: typeof type === 'string' && type !== 'error' ? type : typeOf(code),
    param: typeof param === 'string' ? inWords(param) : null,
    code: typeof code === 'string' ? code : null,
  }
}

/** Errors in a stream and in a failed response have a code alone. */
const typeOf = (code: unknown) =>
  code === 'rate_limit_exceeded'
    ? 'rate_limit_error'
    : code === 'server_error' || typeof code !== 'string'
      ? 'server_error'
      : 'invalid_request_error'
