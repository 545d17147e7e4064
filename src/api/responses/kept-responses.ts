import { GatewayError, invalidRequest, notFound } from '../../errors.ts'
import type { InputItem } from '../../openai/responses/items.ts'
import type { ResponseResource } from '../../openai/responses/resource.ts'
import { type FoundResponse, loadKept, type Shelf } from './kept.ts'

/** `GET /v1/responses/{id}`. @throws GatewayError 404; 400 for a stream: what is kept is whole */
export async function findResponse(shelf: Shelf, id: string, query: URLSearchParams): Promise<ResponseResource> {
  if (query.get('stream') === 'true') {
    throw invalidRequest(
      'A response that has ended is not streamed: leave out stream.',
      'stream',
      'unsupported_parameter',
    )
  }
  return (await find(shelf, id)).response
}

/** `DELETE /v1/responses/{id}`. @throws GatewayError 404 */
export async function deleteResponse({ responses, tenant, user }: Shelf, id: string) {
  if (!(await responses.delete(tenant, user, id))) throw unknown(id)
  return { id, object: 'response', deleted: true }
}

const [DEFAULT_LIMIT, MAX_LIMIT] = [20, 100]

/**
 * `GET /v1/responses/{id}/input_items`: all that the response answered, the newest first.
 *
 * @throws GatewayError 400, 404
 */
export async function listInput(shelf: Shelf, id: string, query: URLSearchParams) {
  const limit = Number(query.get('limit') ?? DEFAULT_LIMIT)
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw invalidRequest(`Invalid 'limit': expected an integer from 1 to ${MAX_LIMIT}.`, 'limit')
  }
  const order = query.get('order') ?? 'desc'
  if (order !== 'asc' && order !== 'desc') throw invalidRequest(`Invalid 'order': expected 'asc' or 'desc'.`, 'order')
  const items = await inputOf(shelf, id)
  if (order === 'desc') items.reverse()
  const after = query.get('after')
  const start = after === null ? 0 : items.findIndex((item) => item.id === after) + 1
  if (after !== null && start === 0) throw invalidRequest(`Invalid 'after': there is no such item.`, 'after')
  const data = items.slice(start, start + limit)
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: start + limit < items.length,
  }
}

async function inputOf(shelf: Shelf, id: string): Promise<InputItem[]> {
  const { chain, input } = await find(shelf, id)
  const before = (await loadKept(chain, shelf)).filter((one) => one !== null).reverse()
  return [...before.flatMap((one) => [...one.input, ...one.response.output]), ...input].map(listed)
}

/** As the listing has messages: their content is parts. */
function listed(item: InputItem): InputItem {
  if (item.type !== 'message' || typeof item.content !== 'string') return item
  const type = item.role === 'assistant' ? 'output_text' : 'input_text'
  const part = { type, text: item.content, ...(type === 'output_text' && { annotations: [] }) }
  return { status: 'completed', ...item, content: [part] }
}

async function find(shelf: Shelf, id: string): Promise<FoundResponse> {
  const [found] = await loadKept([id], shelf)
  if (!found) throw unknown(id)
  return found
}

/** All that is kept of a user's responses, oldest first: one at a time, since one alone may be large. */
export async function* eachResponse(shelf: Shelf): AsyncGenerator<(ResponseResource & { input: InputItem[] })[]> {
  for await (const ids of shelf.responses.list(shelf.tenant, shelf.user)) {
    for (const id of ids) {
      const [found] = await loadKept([id], shelf)
      if (found) yield [{ ...found.response, input: found.input }]
    }
  }
}

const unknown = (id: string) =>
  notFound(`Response with id '${id.slice(0, 64).replace(/[^\x20-\x7e]/g, '?')}' not found.`, 'response_not_found', 'id')

/** What OpenAI has, and the gateway does not. */
export const notServed = (what: string, status: 400 | 404) =>
  new GatewayError(`The gateway does not support ${what}.`, {
    status,
    type: 'invalid_request_error',
    code: 'unsupported_endpoint',
  })

/** A client that asks for a WebSocket gets on with HTTP after this (RFC 9110, 15.5.22). */
export const noWebSocket = () =>
  new GatewayError('The gateway serves responses over HTTP: use POST /v1/responses.', {
    status: 426,
    type: 'invalid_request_error',
    code: 'websocket_not_supported',
    headers: { upgrade: 'HTTP/1.1' },
  })
