import type { ErrorType } from '../errors.ts'
import { ownOf } from '../runtime/own.ts'
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
 * `{ detail }` (FastAPI), `{ message }` (Mistral, vLLM), `{ errors: [{ message }] }` (Cloudflare), `{ error_msg }`
 * (Baidu), `{ msg }`, text.
 */
export function errorBodyOf(status: number, body: Buffer): Buffer {
  const json = parseJson(body)
  const own = isObject(json) && isObject(json.error) ? json.error : null
  if (own && typeof own.message === 'string' && isTextOrNone(own.code) && isTextOrNone(own.param)) return body
  const { message, type, param, code } = readError(status, json)
  return Buffer.from(JSON.stringify({ error: { message, type, param, code } }))
}

/** Whether a value of `error` tells of one: some servers send `null`, `{}` or `''` beside each answer. */
export const saysError = (error: unknown): boolean =>
  typeof error === 'string'
    ? error.trim() !== ''
    : isObject(error) && Object.values(error).some((value) => value !== null && value !== undefined && value !== '')

/** What a parsed error body says, whichever shape it has. */
export function readError(status: number, json: unknown): OpenAIError {
  const outer = Array.isArray(json) ? json[0] : json
  const error = isObject(outer) && saysError(outer.error) ? outer.error : outer
  const fallback = { message: `The model provider refused the request (HTTP ${status}).`, type: errorTypeOf(status) }
  if (typeof error === 'string' && error !== '') return { ...fallback, message: error, param: null, code: null }
  if (!isObject(error)) return { ...fallback, param: null, code: null }
  const { message, detail, error_msg: text, msg, reason, errors } = error
  const listed = Array.isArray(errors) ? errors.map((one) => (isObject(one) ? inWords(one.message) : inWords(one))) : []
  const said = [message, detail, text, msg, reason]
    .map(inWords)
    .concat(listed.join('; '))
    .find((words) => words !== '')
  return {
    message: said ?? fallback.message,
    type: typeof error.type === 'string' ? error.type : fallback.type,
    param: typeof error.param === 'string' ? error.param : null,
    code: typeof error.code === 'string' || typeof error.code === 'number' ? String(error.code) : null,
  }
}

/** A message, or what stands in for one: a list of what is wrong with which field (FastAPI; Mistral, in `message`). */
function inWords(value: unknown): string {
  if (typeof value === 'string') return value
  if (!isObject(value)) return ''
  const list = Array.isArray(value) ? value : value.detail
  if (typeof list === 'string') return list
  if (!Array.isArray(list)) return JSON.stringify(value)
  return list
    .map((item) => {
      if (!isObject(item)) return String(item)
      const field = Array.isArray(item.loc) ? item.loc.filter((step) => step !== 'body').join('.') : ''
      const text = typeof item.msg === 'string' ? item.msg : JSON.stringify(item)
      return field === '' ? text : `${field}: ${text}`
    })
    .join('; ')
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
    const status = typeof value === 'string' ? ownOf(TYPE_STATUS, value) : undefined
    if (status) return status
  }
  return 500
}

/** Of UTF-8, with a byte-order mark or without (RFC 8259, 8.1); undefined where it is no JSON. */
export function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(withoutMark(body).toString('utf8'))
  } catch {
    return undefined
  }
}

/** UTF-8's byte-order mark. */
const MARK = Buffer.from([0xef, 0xbb, 0xbf])

export const withoutMark = (body: Buffer): Buffer =>
  body[0] === MARK[0] && body.subarray(0, MARK.length).equals(MARK) ? body.subarray(MARK.length) : body

const isTextOrNone = (value: unknown) => value === undefined || value === null || typeof value === 'string'
