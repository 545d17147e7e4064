import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { type BodySource, readBody } from '../../src/api/body.ts'
import type { GatewayError } from '../../src/errors.ts'
import { HeldBytes } from '../../src/pipeline/held-bytes.ts'

const servers: ReturnType<typeof createServer>[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections()
})

const snapshot = {
  config: { server: { max_body_bytes: 10_000_000, body_timeout_ms: 300, body_min_bytes_per_s: 4_096 } },
} as BodySource['snapshot']

/** Sends pieces of a body at a pace, and tells how it ended: the bytes read, or the status of the refusal. */
async function upload(
  pieces: number,
  bytes: number,
  everyMs: number,
  held = room(),
  declared?: number,
): Promise<number> {
  const read = Promise.withResolvers<number>()
  const server = createServer((incoming, outgoing) => {
    readBody({ incoming, outgoing, snapshot, held: held.openFor(outgoing, 'tenant') }).then(
      (body) => read.resolve(body.length),
      (error: GatewayError) => read.resolve(error.status),
    )
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const headers = declared === undefined ? {} : { 'content-length': declared }
  const client = request({ port: (server.address() as AddressInfo).port, method: 'POST', headers })
  client.on('error', () => {})
  if (declared !== undefined) client.flushHeaders()
  for (let i = 0; i < pieces; i++) {
    client.write(Buffer.alloc(bytes))
    await sleep(everyMs)
  }
  if (declared === undefined) client.end()
  return read.promise
}

const room = (max = 10_000_000, maxPerTenant = max) => new HeldBytes({ max, maxPerTenant })

test('a steady upload may take as long as its size needs, longer than the timeout too', async () => {
  expect(await upload(20, 20_000, 50)).toBe(400_000)
})

test('an upload that stops is refused, and so is one that drips', async () => {
  expect(await upload(1, 100_000, 1_000)).toBe(408)
  expect(await upload(30, 1, 50)).toBe(408)
})

test('an upload that says it is more than its tenant may hold is refused before it comes', async () => {
  expect(await upload(0, 0, 0, room(1_000_000, 150_000), 200_000)).toBe(429)
})

test('an upload of more than its tenant, or all together, may hold is refused, and holds nothing any more', async () => {
  for (const [held, status] of [
    [room(1_000_000, 150_000), 429],
    [room(150_000, 1_000_000), 503],
  ] as const) {
    expect(await upload(4, 50_000, 10, held)).toBe(status)
    expect(held.total).toBe(0)
  }
})
