/**
 * The floor: the least that a proxy on the same libraries does. Body in, undici pool, body out. `node floor.ts
 * <upstream port>`.
 */
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { Pool } from 'undici'

const pool = new Pool(`http://127.0.0.1:${process.argv[2]}`, { connections: 20_000, headersTimeout: 0, bodyTimeout: 0 })
const app = new Hono()
app.post('/v1/chat/completions', async (c) => {
  const answer = await pool.request({
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', authorization: 'Bearer provider-key' },
    body: Buffer.from(await c.req.arrayBuffer()),
  })
  const type = String(answer.headers['content-type'])
  const body = type.startsWith('text/event-stream')
    ? (answer.body as unknown as ReadableStream)
    : await answer.body.arrayBuffer()
  return new Response(body, { status: answer.statusCode, headers: { 'content-type': type } })
})
serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1', serverOptions: { noDelay: true } }, (info) =>
  process.send?.({ port: (info as AddressInfo).port }),
)
process.once('disconnect', () => process.exit(0))
