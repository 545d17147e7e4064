/**
 * What forwarding and relaying cost: CPU of this process per plain request and per streamed chunk, beside a bare undici
 * proxy in the same process; upstream and client are processes of their own.
 *
 *     node test/bench/relay.ts
 */
import { fork } from 'node:child_process'
import { Agent, createServer, request as httpRequest, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import { startHarness } from '../support/relay-harness.ts'
import { chunkOf, completionBody } from '../support/upstream.ts'

interface Load {
  url: string
  stream: boolean
  requests: number
}

const CHUNKS = 400
const STREAMS = 100
const PLAIN = 4_000
const ROUNDS = 7
const IN_FLIGHT = 4
const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ content: ' word' }))}\n\n`)
const last = Buffer.from(`data: ${JSON.stringify(chunkOf({}, 'stop'))}\n\ndata: [DONE]\n\n`)
const plain = Buffer.from(JSON.stringify(completionBody('A short answer of a few words. '.repeat(8))))

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** A plain answer, or a chunk each turn of the event loop, so that chunks seldom share a packet. */
async function upstream() {
  const server = createServer((incoming, response) => {
    let body = ''
    incoming.on('data', (data) => {
      body += data
    })
    incoming.on('end', () => {
      if (!body.includes('"stream":true')) {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': plain.length })
        return response.end(plain)
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let left = CHUNKS
      const next = () => {
        if (left-- === 0) return response.end(last)
        response.write(event)
        setImmediate(next)
      }
      next()
    })
  })
  process.send?.(await listen(server))
}

function client() {
  const agent = new Agent({ keepAlive: true })
  const headers = { 'content-type': 'application/json' }
  process.on('message', async ({ url, stream, requests }: Load) => {
    const body = JSON.stringify({
      model: 'auto',
      stream,
      messages: [{ role: 'user', content: 'Hi, how are you today?' }],
    })
    const one = () =>
      new Promise<void>((resolve) => {
        const request = httpRequest(url, { method: 'POST', headers, agent }, (response) => {
          response.resume()
          response.on('end', resolve)
        })
        request.end(body)
      })
    const worker = async () => {
      for (let i = 0; i < requests / IN_FLIGHT; i++) await one()
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
    process.send?.('done')
  })
}

/** The floor: a body in, a body out. */
async function bareProxy(origin: string) {
  const pool = new Pool(origin)
  const server = createServer(async (incoming, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const { body, statusCode, headers } = await pool.request({ method: 'POST', path: '/', body: Buffer.concat(chunks) })
    response.writeHead(statusCode, { 'content-type': String(headers['content-type']) })
    for await (const chunk of body) {
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end()
  })
  return {
    url: `http://127.0.0.1:${await listen(server)}/`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await pool.destroy()
    },
  }
}

const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

async function main() {
  const self = fileURLToPath(import.meta.url)
  const source = fork(self, ['upstream'])
  const port = await new Promise<number>((resolve) => source.once('message', (value) => resolve(value as number)))
  const asker = fork(self, ['client'])
  const origin = `http://127.0.0.1:${port}`
  const harness = await startHarness({ origins: [origin] })
  const bare = await bareProxy(origin)

  /** Microseconds of CPU of this process for the load. */
  const cpu = async (load: Load) => {
    const before = process.cpuUsage()
    asker.send(load)
    await new Promise((resolve) => asker.once('message', resolve))
    const { user, system } = process.cpuUsage(before)
    return user + system
  }
  const compare = async (title: string, stream: boolean, requests: number, units: number) => {
    const [ours, theirs]: [number[], number[]] = [[], []]
    for (let round = -1; round < ROUNDS; round++) {
      const mine = (await cpu({ url: `${harness.url}/chat/completions`, stream, requests })) / units
      const floor = (await cpu({ url: bare.url, stream, requests })) / units
      if (round < 0) continue
      ours.push(mine)
      theirs.push(floor)
    }
    const spread = (values: number[]) =>
      `${median(values).toFixed(1)} us (${Math.min(...values).toFixed(1)} to ${Math.max(...values).toFixed(1)})`
    console.log(
      `${title}: forward + relay ${spread(ours)}, bare proxy ${spread(theirs)}, ratio ${(median(ours) / median(theirs)).toFixed(2)}`,
    )
  }

  console.log(`CPU of the proxying process, median and range of ${ROUNDS} rounds`)
  await compare(`a plain request (${PLAIN} a round)`, false, PLAIN, PLAIN)
  await compare(`a streamed chunk (${STREAMS} x ${CHUNKS} a round)`, true, STREAMS, STREAMS * CHUNKS)
  const observer = new SseObserver({ dropUsage: true })
  for (let i = 0; i < 200_000; i++) observer.push(event)
  const started = performance.now()
  for (let i = 0; i < 1_000_000; i++) observer.push(event)
  console.log(
    `reading along alone: ${((performance.now() - started) / 1000).toFixed(2)} us an event of ${event.length} bytes`,
  )
  source.kill()
  asker.kill()
  await bare.close()
  await harness.close()
}

if (process.argv[2] === 'upstream') await upstream()
else if (process.argv[2] === 'client') client()
else await main()
