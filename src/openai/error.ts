import type { ErrorType } from '../errors.ts'
import { isObject } from './is-object.ts'
import { frame } from './sse.ts'

export interface OpenAIError {
  message: string
  type: string
  param: string | null
  code: string | null
}

const STATUS_TYPES: Record<number, ErrorType> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  429: 'rate_limit_error',
}

export const errorTypeOf = (status: number): ErrorType =>
  STATUS_TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')

/** OpenAI's error body: `{ error: { message, type, param, code } }`. */
export const errorBody = ({ message, type, param, code }: OpenAIError) =>
  JSON.stringify({ error: { message, type, param, code } })

/** The last event of a stream that broke. The official SDKs raise when an event holds `error`. */
export const errorFrame = ({ message, type, param, code }: OpenAIError) =>
  frame({ error: { message, type, param, code } })

/**
 * A provider's error body as OpenAI's clients parse it: the very bytes where they already have the shape `{ error: {
 * message, code: string | null } }`, else the same message in that shape. Known other shapes: `[{ error }]` (Gemini),
 * `{ detail }` (FastAPI), `{ message }` (Mistral, vLLM), text.
 */
export function errorBodyOf(status: number, body: Buffer): Buffer {
  const json = parseJson(body)
  const own = isObject(json) && isObject(json.error) ? json.error : null
  if (own && typeof own.message === 'string' && isTextOrNone(own.code) && isTextOrNone(own.param)) return body
  const { message, type, param, code } = readError(status, json)
  return Buffer.from(JSON.stringify({ error: { message, type, param, code } }))
}

/** What a parsed error body says, whichever shape it has. */
export function readError(status: number, json: unknown): OpenAIError {
  const outer = Array.isArray(json) ? json[0] : json
  const error = isObject(outer) && 'error' in outer ? outer.error : outer
  const fallback = { message: `The model provider refused the request (HTTP ${status}).`, type: errorTypeOf(status) }
  if (typeof error === 'string' && error !== '') return { ...fallback, message: error, param: null, code: null }
  if (!isObject(error)) return { ...fallback, param: null, code: null }
  const { message, detail } = error
  return {
    message:
      typeof message === 'string' && message !== ''
        ? message
        : detail !== undefined
          ? typeof detail === 'string'
            ? detail
            : JSON.stringify(detail)
          : fallback.message,
    type: typeof error.type === 'string' ? error.type : fallback.type,
    param: typeof error.param === 'string' ? error.param : null,
    code: typeof error.code === 'string' || typeof error.code === 'number' ? String(error.code) : null,
  }
}

const TYPE_STATUS: Record<string, number> = {
  invalid_request_error: 400,
  authentication_error: 401,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  insufficient_quota: 429,
  overloaded_error: 529,
  server_error: 500,
  api_error: 500,
}

/** The HTTP status that an error event inside a 200 stands for; 500 where it does not say. */
export function statusOfError(error: unknown): number {
  if (!isObject(error)) return 500
  for (const value of [error.status, error.code, error.status_code]) {
    const status = Number(value)
    if (Number.isInteger(status) && status >= 400 && status <= 599) return status
  }
  for (const value of [error.code, error.type]) {
    const status = typeof value === 'string' ? TYPE_STATUS[value] : undefined
    if (status) return status
  }
  return 500
}

export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
const isTextOrNone = (value: unknown) => value === undefined || value === null || typeof value === 'string'
