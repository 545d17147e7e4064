import { GatewayError } from '../errors.ts'
import { StoreError } from '../store/store.ts'

export interface ErrorReply {
  status: number
  headers: Record<string, string>
  body: string
}

/** OpenAI's error body: `{ error: { message, type, param, code } }`. */
export const errorBody = ({ message, type, param, code }: Pick<GatewayError, 'message' | 'type' | 'param' | 'code'>) =>
  JSON.stringify({ error: { message, type, param, code } })

/** Any error as the client sees it; what is not ours to tell becomes a plain 500. */
export function renderError(error: unknown, requestId: string): ErrorReply {
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
    body: errorBody(known),
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
