/**
 * What asking a provider costs: CPU of this process a request, by our client, by undici's `request` and by `fetch`,
 * against an upstream in a process of its own. A plain answer of 300 bytes, read to its end.
 *
 *     node test/bench/client.ts [rounds]
 *
 * Rounds take turns; median and best of them, and the ratio to ours in the median with its quartiles.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, setGlobalDispatcher, fetch as undiciFetch, request as undiciRequest } from 'undici'
import { HttpClient } from '../../src/providers/http/client.ts'
import { completionBody } from '../support/upstream.ts'

const [rounds = 15] = process.argv.slice(2).map(Number)
const REQUESTS = 2_000
const IN_FLIGHT = 16
const CONNECTIONS = 64
const answer = Buffer.from(JSON.stringify(completionBody('A short answer of a few words.')))
const body = Buffer.from(JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x'.repeat(200) }] }))
const headers = {
  'content-type': 'application/json',
  accept: 'application/json',
  authorization: 'Bearer a-key-of-ours',
}

if (process.send) {
  const server = createServer((incoming, response) => {
    incoming.resume().on('end', () => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
      response.end(answer)
    })
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
} else {
  const child = fork(import.meta.filename)
  const [port] = (await once(child, 'message')) as [number]
  const origin = `http://127.0.0.1:${port}`
  const client = new HttpClient({ origin, connectTimeoutMs: 3_000, maxConnections: CONNECTIONS })
  setGlobalDispatcher(new Agent({ connections: CONNECTIONS }))

  const readAll = async (bytes: AsyncIterable<Uint8Array>) => {
    let length = 0
    for await (const chunk of bytes) length += chunk.length
    if (length !== answer.length) throw new Error(`${length} bytes`)
  }
  const ways: Record<string, (signal: AbortSignal) => Promise<void>> = {
    ours: async (signal) =>
      readAll(
        (await client.send({ method: 'POST', path: '/v1/chat', headers, body, signal, secret: 'a-key-of-ours' })).body,
      ),
    'undici.request': async (signal) =>
      readAll((await undiciRequest(`${origin}/v1/chat`, { method: 'POST', headers, body, signal })).body),
    fetch: async (signal) =>
      readAll((await undiciFetch(`${origin}/v1/chat`, { method: 'POST', headers, body, signal })).body!),
  }

  const round = async (ask: (signal: AbortSignal) => Promise<void>) => {
    const before = process.cpuUsage()
    let left = REQUESTS
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (left-- > 0) await ask(new AbortController().signal)
      }),
    )
    const { user, system } = process.cpuUsage(before)
    return (user + system) / REQUESTS
  }
  const took = Object.fromEntries(Object.keys(ways).map((name) => [name, [] as number[]]))
  for (let i = -2; i < rounds; i++) {
    for (const [name, ask] of Object.entries(ways)) {
      const us = await round(ask)
      if (i >= 0) took[name]!.push(us)
    }
  }
  const quantile = (values: number[], share: number) =>
    [...values].sort((a, b) => a - b)[Math.floor(share * values.length)]!
  for (const [name, values] of Object.entries(took)) {
    const ratios = values.map((us, i) => us / took.ours![i]!)
    const [low, middle, high] = [0.25, 0.5, 0.75].map((share) => quantile(ratios, share).toFixed(2))
    const us = `${quantile(values, 0.5).toFixed(1)} us, best ${quantile(values, 0).toFixed(1)}`
    console.log(`${name.padEnd(16)} ${us}; ${middle} [${low}, ${high}] of ours`)
  }
  await client.close()
  child.kill()
  process.exit(0)
}
