import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { GatewayError, invalidRequest } from '../../src/errors.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { exhausted } from '../../src/providers/forward/failure.ts'
import { UpstreamError } from '../../src/providers/provider.ts'
import { report, sendError } from '../../src/server/errors.ts'
import { StoreError } from '../../src/store/store.ts'
import { silent } from '../routing/support.ts'

/** Reports an error to metrics and a log that are watched. */
async function reported(error: unknown, shape?: Parameters<typeof report>[3]) {
  const metrics = createMetrics()
  const lines: { level: string; fields: object; message: string | undefined }[] = []
  const log = Object.create(silent) as typeof silent
  for (const level of ['warn', 'error'] as const) {
    log[level] = vi.fn((fields: object, message?: string) => void lines.push({ level, fields, message }))
  }
  const reply = report({ metrics, log }, error, 'req_1', shape)
  const counted = (await metrics.rejected.get()).values.map(({ value, labels }) => ({ value, ...labels }))
  return { reply, lines, counted, body: JSON.parse(reply.body) }
}

test('a mistake of the client is told and counted, and is no line of the log', async () => {
  const { reply, lines, counted, body } = await reported(invalidRequest('Invalid x.', 'x', 'bad_x'))
  expect(reply).toMatchObject({ status: 400, headers: { 'x-request-id': 'req_1', 'content-type': 'application/json' } })
  expect(body).toEqual({ error: { message: 'Invalid x.', type: 'invalid_request_error', param: 'x', code: 'bad_x' } })
  expect(counted).toEqual([{ value: 1, status: 400, code: 'bad_x' }])
  expect(lines).toEqual([])
})

test.each([
  ['an error of ours', new TypeError('x is undefined')],
  ['one that a part has wrapped', wrapped(new TypeError('x is undefined'))],
])('%s: told as a plain 500, logged with its cause', async (_, error) => {
  const { reply, lines, counted, body } = await reported(error)
  expect(reply.status).toBe(500)
  expect(body.error).toMatchObject({ type: 'api_error', code: 'internal_error' })
  expect(reply.body).not.toContain('undefined')
  expect(counted).toEqual([{ value: 1, status: 500, code: 'internal_error' }])
  expect(lines).toEqual([
    {
      level: 'error',
      fields: { err: expect.objectContaining({ message: 'x is undefined' }), request: 'req_1' },
      message: 'internal error',
    },
  ])
})

test.each([
  ['a store that is away', new StoreError('ECONNREFUSED'), 503, 'store_unavailable'],
  [
    'a provider that does not answer',
    exhausted({
      kind: 'connect',
      message: 'it refuses connections',
      cause: new UpstreamError('connect', 'it refuses connections', new Error('ECONNREFUSED')),
    }),
    502,
    'upstream_unreachable',
  ],
])('%s: a warning with the cause', async (_, error, status, code) => {
  const { reply, lines, body } = await reported(error)
  expect(reply.status).toBe(status)
  expect(body.error.code).toBe(code)
  expect(lines).toMatchObject([{ level: 'warn', fields: { request: 'req_1', status, code } }])
  expect(lines[0]?.fields).toHaveProperty('err')
})

test('the shape is the route’s, the headers stay', async () => {
  const limited = new GatewayError('Slow down.', { status: 429, type: 'rate_limit_error', retryAfterS: 1.2 })
  const { reply, body } = await reported(limited, ({ message }) => JSON.stringify({ said: message }))
  expect(body).toEqual({ said: 'Slow down.' })
  expect(reply.headers['retry-after']).toBe('2')
})

test('an answer that has begun is cut off: nothing is added to it', async () => {
  const { reply } = await reported(new Error('late'))
  const server = createServer((_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('first half', () => sendError(response, reply))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  await expect(response.text()).rejects.toThrow()
  await new Promise((resolve) => server.close(resolve))
})

function wrapped(cause: unknown): GatewayError {
  return new GatewayError('The gateway had an internal error.', {
    status: 500,
    type: 'api_error',
    code: 'internal_error',
    cause,
  })
}
