/**
 * What relaying a stream costs: CPU of the gateway's process per chunk, beside a bare undici proxy in the same process, upstream and clients in
 * processes of their own. Run: node test/bench/relay.ts
 */
import { fork } from 'node:child_process'
import { createServer, request as httpRequest, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { SseObserver } from '../../src/openai/sse-observer.ts'
import { startHarness } from '../support/relay-harness.ts'
import { chunkOf } from '../support/upstream.ts'

const CHUNKS = 400
const STREAMS = 100
const ROUNDS = 5
const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ content: ' word' }))}\n\n`)
const last = Buffer.from(`data: ${JSON.stringify(chunkOf({}, 'stop'))}\n\ndata: [DONE]\n\n`)
const listen = async (server: ReturnType<typeof createServer>) => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

/** Writes a chunk each turn of the event loop, so that chunks seldom share a packet. */
async function upstream() {
  const server = createServer((incoming, response) => {
    incoming.resume()
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    let left = CHUNKS
    const next = () => {
      if (left-- === 0) return response.end(last)
      response.write(event)
      setImmediate(next)
    }
    next()
  })
  process.send?.(await listen(server))
}

/** Asks for streams, four at a time, and counts what arrives. */
function client() {
  process.on('message', async (url: string) => {
    let bytes = 0
    const one = () =>
      new Promise<void>((resolve) => {
        const request = httpRequest(
          url,
          { method: 'POST', headers: { 'content-type': 'application/json' } },
          (response) => {
            response.on('data', (data: Buffer) => {
              bytes += data.length
            })
            response.on('end', resolve)
          },
        )
        request.end(JSON.stringify({ model: 'auto', stream: true, messages: [{ role: 'user', content: 'Hi' }] }))
      })
    const worker = async () => {
      for (let i = 0; i < STREAMS / 4; i++) await one()
    }
    await Promise.all([worker(), worker(), worker(), worker()])
    process.send?.(bytes)
  })
}

async function main() {
  const self = fileURLToPath(import.meta.url)
  const source = fork(self, ['upstream'])
  const port = await new Promise<number>((resolve) => source.once('message', (value) => resolve(value as number)))
  const asker = fork(self, ['client'])
  const measure = async (url: string) => {
    const before = process.cpuUsage()
    asker.send(url)
    await new Promise((resolve) => asker.once('message', resolve))
    const { user, system } = process.cpuUsage(before)
    return (user + system) / (STREAMS * CHUNKS)
  }

  const harness = await startHarness({ origins: [`http://127.0.0.1:${port}`] })
  const pool = new Pool(`http://127.0.0.1:${port}`)
  const bare = createServer(async (incoming, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    const { body, statusCode } = await pool.request({ method: 'POST', path: '/', body: Buffer.concat(chunks) })
    response.writeHead(statusCode, { 'content-type': 'text/event-stream' })
    for await (const chunk of body)
      if (!response.write(chunk)) await new Promise((resolve) => response.once('drain', resolve))
    response.end()
  })
  const bareUrl = `http://127.0.0.1:${await listen(bare)}/`
  const gatewayUrl = `${harness.url}/chat/completions`
  const [ours, theirs]: [number[], number[]] = [[], []]
  await measure(gatewayUrl)
  await measure(bareUrl)
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await measure(gatewayUrl))
    theirs.push(await measure(bareUrl))
  }
  const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number
  console.log(
    `CPU a chunk, median of ${ROUNDS} rounds of ${STREAMS} streams x ${CHUNKS} chunks of ${event.length} bytes:`,
  )
  console.log(
    `  forward + relay   ${median(ours).toFixed(2)} us   (${ours.map((value) => value.toFixed(2)).join(' ')})`,
  )
  console.log(
    `  bare undici proxy ${median(theirs).toFixed(2)} us   (${theirs.map((value) => value.toFixed(2)).join(' ')})`,
  )
  console.log(`  difference        ${(median(ours) - median(theirs)).toFixed(2)} us`)

  const observer = new SseObserver({ dropUsage: true })
  for (let i = 0; i < 200_000; i++) observer.push(event)
  const started = performance.now()
  for (let i = 0; i < 1_000_000; i++) observer.push(event)
  console.log(`  observer alone    ${(performance.now() - started).toFixed(0)} ns an event`)
  source.kill()
  asker.kill()
  await harness.close()
  await pool.destroy()
  bare.closeAllConnections()
  bare.close()
}

if (process.argv[2] === 'upstream') await upstream()
else if (process.argv[2] === 'client') client()
else await main()
