import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { Pace } from '../../src/server/pace.ts'
import { eventually } from '../support/eventually.ts'
import { openRaw } from '../support/raw-http.ts'

const MB = 1024 * 1024
const [A_TURN, A_READ] = [256 * 1024, 64 * 1024]

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})

type Read = (message: IncomingMessage) => Promise<unknown> | undefined

/** A server that answers with the hash of what it reads, and counts bytes by turns of the loop. */
async function paced(read?: Read) {
  const pace = new Pace()
  const turns: number[] = []
  let inTurn = 0
  const count = (bytes: number) => {
    if (inTurn === 0) {
      setImmediate(() => {
        turns.push(inTurn)
        inTurn = 0
      })
    }
    inTurn += bytes
  }
  const server = createServer(async (message, response) => {
    pace.watch(message)
    const push = message.push
    message.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
      if (chunk) count(chunk.length)
      return push.call(message, chunk, encoding)
    }
    await read?.(message)
    const hash = createHash('sha256')
    for await (const chunk of message) hash.update(chunk)
    response.end(hash.digest('hex'))
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { pace, turns, port, url: `http://127.0.0.1:${port}` }
}

const hashOf = (body: Buffer) => createHash('sha256').update(body).digest('hex')

async function post(port: number, body: Buffer, headers: Record<string, string | number>): Promise<string> {
  const asked = request({ port, method: 'POST', headers })
  asked.end(body)
  const [answer] = (await once(asked, 'response')) as [IncomingMessage]
  return (await answer.toArray()).join('')
}

test.each([
  ['of a length that is told', (body: Buffer) => ({ 'content-length': body.length })],
  ['in chunks', () => ({ 'transfer-encoding': 'chunked' })],
])('bodies %s arrive whole, so many bytes a turn of all together', async (_, headers) => {
  const { turns, port } = await paced()
  const bodies = Array.from({ length: 12 }, () => randomBytes(3 * MB))
  const read = await Promise.all(bodies.map((body) => post(port, body, headers(body))))
  expect(read).toEqual(bodies.map(hashOf))
  // Each connection may give one read more before it waits.
  expect(Math.max(...turns)).toBeLessThanOrEqual(A_TURN + 12 * A_READ)
  expect(turns.reduce((sum, bytes) => sum + bytes, 0)).toBe(12 * 3 * MB)
})

test('a small request is answered while large bodies are arriving', async () => {
  const { port, url } = await paced()
  const large = await Promise.all(Array.from({ length: 8 }, () => openRaw(url)))
  const body = Buffer.alloc(8 * MB)
  for (const one of large) {
    one.send(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length + 1}\r\n\r\n`)
    one.send(body)
  }
  const small = Buffer.from('small')
  expect(await post(port, small, { 'content-length': small.length })).toBe(hashOf(small))
  for (const one of large) {
    expect(one.answers).toBe(0)
    one.send('x')
  }
  await eventually(() => large.every(({ answers }) => answers === 1), 'every large one is answered', 30_000)
  for (const one of large) one.destroy()
})

test('a body that is read slowly waits for its reader, and its connection serves the next request', async () => {
  const { pace, url } = await paced(() => sleep(300))
  const body = randomBytes(2 * MB)
  const connection = await openRaw(url)
  const head = `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`
  const [one, next] = [Buffer.concat([Buffer.from(head), body]), 'GET / HTTP/1.1\r\nhost: a\r\n\r\n']
  connection.send(Buffer.concat([one, one, Buffer.from(next)]))
  await eventually(() => connection.answers === 3, 'three answers', 30_000)
  expect(connection.received.split(hashOf(body))).toHaveLength(3)
  expect(connection.received).toContain(hashOf(Buffer.alloc(0)))
  expect(pace.waiting).toBe(0)
  connection.destroy()
})

test('a client that leaves in the middle is noticed, and nothing waits for it', async () => {
  const left = Promise.withResolvers<void>()
  const { pace, url } = await paced((message) => {
    message.once('close', () => left.resolve())
    message.on('error', () => {}).resume()
    return new Promise(() => {})
  })
  const connection = await openRaw(url)
  connection.send(`POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${8 * MB}\r\n\r\n`)
  connection.send(Buffer.alloc(4 * MB))
  await sleep(20)
  connection.destroy()
  await left.promise
  await eventually(() => pace.waiting === 0, 'nothing waits')
})
