import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { readBody } from '../../src/api/body.ts'
import type { GatewayError } from '../../src/errors.ts'

const servers: ReturnType<typeof createServer>[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.closeAllConnections()
})

/** Sends pieces of a body at a pace, and tells how it ended: the bytes read, or the status of the refusal. */
async function upload(pieces: number, bytes: number, everyMs: number): Promise<number> {
  const read = Promise.withResolvers<number>()
  const server = createServer((incoming) => {
    readBody(incoming, 10_000_000, 300, 4_096).then(
      (body) => read.resolve(body.length),
      (error: GatewayError) => read.resolve(error.status),
    )
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = request({ port: (server.address() as AddressInfo).port, method: 'POST' })
  client.on('error', () => {})
  for (let i = 0; i < pieces; i++) {
    client.write(Buffer.alloc(bytes))
    await sleep(everyMs)
  }
  client.end()
  return read.promise
}

test('a steady upload may take as long as its size needs, longer than the timeout too', async () => {
  expect(await upload(20, 20_000, 50)).toBe(400_000)
})

test('an upload that stops is refused, and so is one that drips', async () => {
  expect(await upload(1, 100_000, 1_000)).toBe(408)
  expect(await upload(30, 1, 50)).toBe(408)
})
