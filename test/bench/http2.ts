/**
 * What HTTP/2 to a provider saves: CPU of an answer in the client's process and the time to its first byte, over TLS,
 * with answers of 20 events 2 ms apart; HTTP/1.1 and HTTP/2 take turns.
 *
 *     node test/bench/http2.ts [rounds, 5]
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openHttp } from '../../src/providers/http/open.ts'
import { Authority } from '../support/authority.ts'
import { chunkOf } from '../support/upstream.ts'

const EVENTS = 20
const GAP_MS = 2
const IN_FLIGHT = [1, 64]
/** Answers of a round, for each number in flight. */
const ANSWERS: Record<number, number> = { 1: 60, 64: 1_500 }
const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ content: ' word' }))}\n\n`)

const [, , first, cert, key] = process.argv
if (first === '--serve') serve(cert as string, key as string)
else await measure(Number(first ?? 5))

function serve(certFile: string, keyFile: string): void {
  const options = { cert: readFileSync(certFile), key: readFileSync(keyFile), allowHTTP1: true }
  const server = createSecureServer(options, async (request, response) => {
    for await (const _ of request);
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let i = 0; i < EVENTS; i++) {
      response.write(event)
      await sleep(GAP_MS)
    }
    response.end('data: [DONE]\n\n')
  })
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port))
}

interface Taken {
  cpuMs: number
  firstMs: number
}

async function measure(rounds: number): Promise<void> {
  const authority = new Authority()
  const own = authority.issue('localhost')
  const server = fork(import.meta.filename, ['--serve', own.cert, own.key])
  const [port] = (await once(server, 'message')) as [number]
  const open = (http2: boolean) =>
    openHttp(`https://127.0.0.1:${port}`, {
      ...{ connect_timeout_ms: 3_000, max_connections: 1_000, http2, tls: { ca_file: authority.ca } },
    })
  const clients = { 'HTTP/1.1': open(false), 'HTTP/2': open(true) }
  const found = new Map<string, Taken[]>()
  for (let round = 0; round <= rounds; round++) {
    for (const inFlight of IN_FLIGHT) {
      for (const [name, client] of Object.entries(clients)) {
        const taken = await run(client, inFlight, ANSWERS[inFlight] as number)
        const label = `${name}, ${inFlight} in flight`
        // The first round warms up.
        if (round > 0) found.set(label, [...(found.get(label) ?? []), taken])
      }
    }
  }
  for (const [label, taken] of [...found].sort()) {
    const [cpu, firstByte] = [taken.map(({ cpuMs }) => cpuMs), taken.map(({ firstMs }) => firstMs)]
    console.log(`${label}: CPU of an answer ${spread(cpu)} ms, first byte after ${spread(firstByte)} ms`)
  }
  for (const client of Object.values(clients)) await client.close()
  server.kill()
}

async function run(http: ReturnType<typeof openHttp>, inFlight: number, answers: number): Promise<Taken> {
  let [left, firstMs] = [answers, 0]
  const before = process.cpuUsage()
  const one = async () => {
    while (left-- > 0) {
      const start = performance.now()
      const signal = AbortSignal.timeout(60_000)
      const answer = await http.send({ method: 'POST', path: '/v1', headers: {}, body: Buffer.from('{}'), signal })
      let isFirst = true
      for await (const _ of answer.body) {
        if (isFirst) firstMs += performance.now() - start
        isFirst = false
      }
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  const { user, system } = process.cpuUsage(before)
  return { cpuMs: (user + system) / 1_000 / answers, firstMs: firstMs / answers }
}

/** Median, and least to most. */
function spread(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => (sorted[Math.round(share * (sorted.length - 1))] as number).toFixed(2)
  return `${at(0.5)} (${at(0)} to ${at(1)})`
}
