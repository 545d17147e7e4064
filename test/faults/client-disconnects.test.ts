import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { call, complete, metric } from '../support/clients.ts'
import {
  ask as askAt,
  ENDPOINTS,
  type EndpointUnderTest,
  UNROUTED,
  type UnroutedUnderTest,
  unroutedConfig,
} from '../support/endpoints.ts'
import { eventually } from '../support/eventually.ts'
import { measured, mebibytes } from '../support/measured.ts'
import { openRaw, postText, type RawConnection } from '../support/raw-http.ts'
import { growthDuring, leastGrowth, type ScriptedGateway, startScripted } from '../support/scripted-gateway.ts'
import {
  chunkOf,
  type Exchange,
  replyPlain,
  replyStream,
  streamEvents,
  type Upstream,
  usageChunk,
} from '../support/upstream.ts'

const WRITE_IDLE_MS = 2_000
const MiB = 1024 * 1024

let scripted: ScriptedGateway
let upstream: Upstream
const connections: RawConnection[] = []

beforeAll(async () => {
  scripted = await startScripted({
    server: { write_idle_timeout_ms: WRITE_IDLE_MS },
    // Would otherwise end streams of clients that read slowly before the write-idle timeout does.
    timeouts: { content_idle_ms: 60_000 },
    ...unroutedConfig(),
  })
  upstream = scripted.upstream
})
afterAll(() => scripted?.close())
afterEach(() => {
  for (const connection of connections.splice(0)) connection.destroy()
})

/** Sends a completion request of its own user on a connection that can be cut. */
async function begin(
  user: string,
  stream: boolean,
  endpoint: UnroutedUnderTest | undefined = ENDPOINTS[0],
): Promise<RawConnection> {
  const connection = await openRaw(scripted.gateway.url)
  connections.push(connection)
  const text = JSON.stringify(endpoint?.body({ stream, prompt: 'Tell me a story. '.repeat(20) }))
  const headers = [
    'host: gateway',
    `authorization: Bearer ${scripted.gateway.key}`,
    `x-user-id: ${user}`,
    `content-length: ${text.length}`,
  ]
  connection.send(postText(headers, text, endpoint?.path))
  return connection
}

/** The one record of a user. */
const recordOf = (user: string) =>
  eventually(async () => {
    const response = await call(scripted.gateway, `/v1/users/${encodeURIComponent(user)}/profile`)
    if (response.status !== 200) return null
    const { interactions } = await response.json()
    expect(interactions.length).toBeLessThanOrEqual(1)
    return interactions[0]
  }, `the record of ${user}`)

const slotsFree = () =>
  eventually(
    async () => (await metric(scripted.gateway, 'persona_router_in_flight')) === 0,
    'every slot is free',
    10_000,
  )

/** An upstream that says when it was asked and when its connection was closed. */
function watched(script: (exchange: Exchange) => void | Promise<void>) {
  const seen = { asked: false, closedAt: 0 }
  upstream.play(async (exchange) => {
    seen.asked = true
    void exchange.closed.then(() => {
      seen.closedAt = performance.now()
    })
    await script(exchange)
    await exchange.closed
  })
  return seen
}

async function cut(
  connection: RawConnection,
  seen: { closedAt: number },
  how: 'FIN' | 'RST',
  what: string,
): Promise<void> {
  const left = performance.now()
  if (how === 'RST') connection.socket.resetAndDestroy()
  else connection.destroy()
  await eventually(() => seen.closedAt > 0, 'the upstream sees the close', 1_000)
  measured(`the upstream sees a client leave ${what} (${how})`, `${(seen.closedAt - left).toFixed(0)} ms`)
}

describe('a client that leaves: upstream aborted within 1 s, one record, slot freed', () => {
  const ways = (['FIN', 'RST'] as const).flatMap((how) => ENDPOINTS.map((endpoint) => ({ how, endpoint })))
  describe.each(ways)('by $how, of $endpoint.name', ({ how, endpoint }) => {
    test.each([
      ['before the first byte of a stream', true],
      ['before a plain answer', false],
    ])('%s', async (what, stream) => {
      const user = `${how}-${stream}-${endpoint.name}`
      const seen = watched(() => {})
      const connection = await begin(user, stream, endpoint)
      await eventually(() => seen.asked, 'the upstream is asked')
      await cut(connection, seen, how, what)
      expect(await recordOf(user)).toMatchObject({
        finishReason: 'aborted',
        status: 499,
        usageEstimated: true,
        attempts: [{ provider: 'up', error: 'aborted' }],
      })
      expect((await recordOf(user)).costUsd).toBeGreaterThan(0)
      await slotsFree()
    })

    test('mid-stream: what was said is on the bill', async () => {
      const user = `${how}-mid-${endpoint.name}`
      const seen = watched((exchange) => {
        exchange.stream()
        exchange.event(chunkOf({ role: 'assistant', content: '' }))
        for (let i = 0; i < 50; i++) exchange.event(chunkOf({ content: ' word' }))
      })
      const connection = await begin(user, true, endpoint)
      await eventually(() => connection.received.split(' word').length > 50, 'the stream has begun')
      await cut(connection, seen, how, 'mid-stream')
      const record = await recordOf(user)
      expect(record).toMatchObject({ finishReason: 'aborted', status: 200, usageEstimated: true })
      expect(record.usage.completionTokens).toBeGreaterThan(20)
      expect(record.usage.promptTokens).toBeGreaterThan(20)
      expect(record.costUsd).toBeGreaterThan(0)
      await slotsFree()
    })

    test('while a plain answer comes in', async () => {
      const user = `${how}-half-${endpoint.name}`
      const seen = watched((exchange) => {
        exchange.head(200, { 'content-type': 'application/json', 'content-length': '1000' })
        exchange.raw('{"id":')
      })
      const connection = await begin(user, false, endpoint)
      await eventually(() => seen.asked, 'the upstream is asked')
      await sleep(50)
      await cut(connection, seen, how, 'within a plain answer')
      expect(await recordOf(user)).toMatchObject({ finishReason: 'aborted', status: 499 })
      await slotsFree()
    })
  })

  const unrouted = (['FIN', 'RST'] as const).flatMap((how) => UNROUTED.map((endpoint) => ({ how, endpoint })))
  test.each(unrouted)('before an answer of $endpoint.name, by $how', async ({ how, endpoint }) => {
    const user = `${how}-${endpoint.name}`
    const seen = watched(() => {})
    const connection = await begin(user, false, endpoint)
    await eventually(() => seen.asked, 'the upstream is asked')
    await cut(connection, seen, how, `before an answer of ${endpoint.name}`)
    expect(await recordOf(user)).toMatchObject({
      finishReason: 'aborted',
      status: 499,
      attempts: [{ error: 'aborted' }],
    })
    await slotsFree()
  })

  test('between two tries: the second is not made', async () => {
    const before = upstream.requests.length
    const other = await startScripted(
      { retries: { max_attempts: 3, backoff_ms: 2_000 } },
      replyPlain(500, { error: { message: 'oops', type: 'server_error', param: null, code: null } }),
    )
    try {
      const connection = await openRaw(other.gateway.url)
      const text = '{"model":"one","messages":[{"role":"user","content":"Hi"}]}'
      connection.send(
        postText(
          ['host: gateway', `authorization: Bearer ${other.gateway.key}`, `content-length: ${text.length}`],
          text,
        ),
      )
      await eventually(() => other.upstream.requests.length === 1, 'the first try')
      await sleep(50)
      connection.destroy()
      await eventually(
        async () => (await metric(other.gateway, 'persona_router_in_flight')) === 0,
        'every slot is free',
        5_000,
      )
      await sleep(500)
      expect(other.upstream.requests.length).toBe(1)
    } finally {
      await other.close()
    }
    expect(upstream.requests.length).toBe(before)
  })

  test('200 clients that leave at all moments leave nothing behind', async () => {
    let busy = 0
    upstream.play(async (exchange) => {
      busy++
      void exchange.closed.then(() => busy--)
      exchange.stream()
      for (const event of streamEvents(Array.from({ length: 20 }, () => ' word'))) {
        if (exchange.socket.destroyed) return
        exchange.event(event)
        await exchange.sleep(3)
      }
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
      exchange.close()
    })
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const connection = await begin(`many-${i}`, true)
        await sleep((i * 7) % 120)
        connection.destroy()
      }),
    )
    await slotsFree()
    await eventually(() => busy === 0, 'every upstream connection is closed', 5_000)
    upstream.play(replyPlain())
    expect((await complete(scripted.gateway)).status).toBe(200)
  })
})

/** Streams `bytes` as fast as the other side takes them. */
const flood = (bytes: number, sent: { bytes: number; closed: boolean }) => async (exchange: Exchange) => {
  exchange.stream()
  exchange.event(chunkOf({ role: 'assistant', content: '' }))
  const event = Buffer.from(`data: ${JSON.stringify(chunkOf({ content: 'x'.repeat(16_000) }))}\n\n`)
  const chunk = Buffer.concat([Buffer.from(`${event.length.toString(16)}\r\n`), event, Buffer.from('\r\n')])
  let closed = false
  void exchange.closed.then(() => {
    closed = sent.closed = true
  })
  while (sent.bytes < bytes && !closed) {
    sent.bytes += event.length
    if (!exchange.socket.write(chunk)) {
      await Promise.race([new Promise((resolve) => exchange.socket.once('drain', resolve)), exchange.closed])
    }
  }
  if (closed) return
  exchange.event(chunkOf({}, 'stop'))
  exchange.event(usageChunk)
  exchange.chunk('data: [DONE]\n\n')
  exchange.end()
}

describe('slow reader', () => {
  test('256 MB to a client that dawdles: all of it arrives, memory is bounded', {
    timeout: 60_000,
  }, async () => {
    // Warm: what the first stream leaves in memory is not this one's.
    const warm = { bytes: 0, closed: false }
    upstream.play(flood(64 * MiB, warm))
    await (await complete(scripted.gateway, { stream: true })).arrayBuffer()

    const growth = await leastGrowth(20 * MiB, () => growthDuring(scripted.gateway, dawdle))
    measured('memory under 256 MB to a slow reader', mebibytes(growth))
    if (growth !== null) expect(growth).toBeLessThan(20 * MiB)

    async function dawdle(): Promise<void> {
      const sent = { bytes: 0, closed: false }
      upstream.play(flood(256 * MiB, sent))
      let received = 0
      const response = await complete(scripted.gateway, { stream: true })
      let tail = Buffer.alloc(0)
      let last = 0
      for await (const bytes of response.body ?? []) {
        received += bytes.length
        tail = Buffer.from(bytes.subarray(-64))
        // A pause now and then: the upstream is always ahead.
        if (received - last > 16 * MiB) {
          last = received
          await sleep(50)
        }
      }
      expect(tail.toString()).toMatch(/data: \[DONE\]\n\n$/)
      expect(received).toBeGreaterThan(256 * MiB)
    }
  })

  test.each(ENDPOINTS.map((endpoint) => [endpoint.name, endpoint] as const))(
    'a client of %s that reads nothing holds up the upstream, not the memory, and is let go',
    async (name, endpoint) => {
      const user = `sleeper-${name}`
      // What a first answer of this endpoint loads is no part of it.
      upstream.play(flood(MiB, { bytes: 0, closed: false }))
      const warm = { body: endpoint.body({ stream: true, prompt: 'Hi' }) }
      await (await call(scripted.gateway, endpoint.path, warm)).arrayBuffer()
      const sent = { bytes: 0, closed: false }
      upstream.play(flood(256 * MiB, sent))
      const growth = await growthDuring(scripted.gateway, async () => {
        const connection = await begin(user, true, endpoint)
        connection.socket.pause()
        await eventually(() => sent.closed, 'the upstream is let go', WRITE_IDLE_MS + 8_000)
      })
      measured('bytes taken for a client that reads nothing', mebibytes(sent.bytes))
      // What fits into the kernels' buffers of four sockets.
      expect(sent.bytes).toBeLessThan(64 * MiB)
      if (growth !== null) expect(growth).toBeLessThan(20 * MiB)
      const record = await recordOf(user)
      expect(record).toMatchObject({ finishReason: 'aborted', attempts: [{ error: 'slow_reader' }] })
      await slotsFree()
    },
  )

  // A response is told as a whole when it ends: it is held, up to 8 Mi characters.
  test.each([
    ['responses', 6],
    ['messages', 128],
    ['completions', 128],
  ])('%s: %d MB to a client that dawdles', { timeout: 60_000 }, async (name, mebi) => {
    const endpoint = ENDPOINTS.find((one) => one.name === name) as EndpointUnderTest
    const bound = (name === 'responses' ? 120 : 24) * MiB
    const growth = await leastGrowth(bound, () =>
      growthDuring(scripted.gateway, async () => {
        upstream.play(flood(mebi * MiB, { bytes: 0, closed: false }))
        const response = await askAt(endpoint, scripted.gateway, { stream: true })
        let received = 0
        let last = 0
        let tail = ''
        for await (const bytes of response.body ?? []) {
          received += bytes.length
          tail = (tail + Buffer.from(bytes.subarray(-200)).toString()).slice(-200)
          if (received - last < 8 * MiB) continue
          last = received
          await sleep(50)
        }
        expect(received).toBeGreaterThan(mebi * MiB * 0.9)
        expect(tail).not.toContain('api_error')
        expect(tail).toMatch(/\n\n$/)
      }),
    )
    measured(`memory under ${mebi} MB of ${name} to a slow reader`, mebibytes(growth))
    if (growth !== null) expect(growth).toBeLessThan(bound)
  })

  test('and slows nobody else down', async () => {
    const sent = { bytes: 0, closed: false }
    upstream.play(flood(64 * MiB, sent), replyStream())
    const connection = await begin('blocker', true)
    connection.socket.pause()
    await eventually(() => sent.bytes > 0, 'the slow one has begun')
    for (let i = 0; i < 10; i++) {
      const response = await complete(scripted.gateway, { stream: true })
      expect(await response.text()).toContain('[DONE]')
    }
    expect(sent.closed).toBe(false)
  })
})
