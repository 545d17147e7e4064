import { GatewayError } from '../errors.ts'
import { errorBody } from '../openai/error.ts'
import { StoreError } from '../store/store.ts'

export interface ErrorReply {
  status: number
  headers: Record<string, string>
  body: string
}

/** Any error as the client sees it; what is not ours to tell becomes a plain 500. */
export function renderError(error: unknown, requestId: string, write: typeof errorBody = errorBody): ErrorReply {
  const known = asGatewayError(error)
  return {
    status: known.status,
    headers: {
      'content-type': 'application/json',
      'x-request-id': requestId,
      ...(known.retryAfterS !== undefined && { 'retry-after': String(Math.ceil(known.retryAfterS)) }),
      ...(known.shouldRetry !== undefined && { 'x-should-retry': String(known.shouldRetry) }),
      ...known.headers,
    },
    body: write(known),
  }
}

function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return error instanceof StoreError ? storeAway() : internalError()
}

const storeAway = () =>
  new GatewayError('The gateway cannot reach its store right now.', {
    status: 503,
    type: 'api_error',
    code: 'store_unavailable',
    retryAfterS: 1,
  })

const internalError = () =>
  new GatewayError('The gateway had an internal error while processing your request.', {
    status: 500,
    type: 'api_error',
    code: 'internal_error',
  })
