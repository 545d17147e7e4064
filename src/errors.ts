/** Groups of errors, as OpenAI has them: the `type` of an error body. */
export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'insufficient_quota'
  | 'api_error'

export interface GatewayErrorOptions {
  status: number
  type: ErrorType
  /** Machine-readable reason, e.g. `model_not_found`; null where OpenAI has none. */
  code?: string | null
  /** The request field at fault. */
  param?: string | null
  /** Seconds until it is worth trying again: sent as `retry-after`. */
  retryAfterS?: number
  /** False tells the official SDKs not to retry (`x-should-retry`); undefined leaves it to the status. */
  shouldRetry?: boolean
  headers?: Record<string, string>
  cause?: unknown
}

/**
 * An error that the client may see. Its message is written for the client: it never holds an upstream URL, a key, a
 * prompt or a stack. Its cause is for the log. Rendered in `server/errors.ts` alone, in the shape that a route's
 * clients parse.
 */
export class GatewayError extends Error {
  override readonly name: string = 'GatewayError'
  readonly status: number
  readonly type: ErrorType
  readonly code: string | null
  readonly param: string | null
  readonly retryAfterS: number | undefined
  readonly shouldRetry: boolean | undefined
  readonly headers: Record<string, string>

  constructor(message: string, options: GatewayErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = options.status
    this.type = options.type
    this.code = options.code ?? null
    this.param = options.param ?? null
    this.retryAfterS = options.retryAfterS
    this.shouldRetry = options.shouldRetry
    this.headers = options.headers ?? {}
  }
}

/**
 * A request that this candidate can't serve, but another may. Thrown before anything is sent; a 400 only where no other
 * candidate is left.
 */
export class UnsupportedRequest extends GatewayError {
  override readonly name = 'UnsupportedRequest'

  constructor(message: string, param: string) {
    super(message, { status: 400, type: 'invalid_request_error', code: 'unsupported_parameter', param })
  }
}

export const invalidRequest = (message: string, param: string | null = null, code: string | null = null) =>
  new GatewayError(message, { status: 400, type: 'invalid_request_error', param, code })

export const badGateway = (message: string) =>
  new GatewayError(message, { status: 502, type: 'api_error', code: 'upstream_error' })

export const notFound = (message: string, code: string | null = null, param: string | null = null) =>
  new GatewayError(message, { status: 404, type: 'invalid_request_error', code, param })

export const unauthorized = () =>
  new GatewayError('Incorrect API key provided.', {
    status: 401,
    type: 'invalid_request_error',
    code: 'invalid_api_key',
    headers: { 'www-authenticate': 'Bearer' },
  })
