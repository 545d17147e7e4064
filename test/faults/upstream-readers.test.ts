import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { type Harness, startHarness } from '../support/relay-harness.ts'
import { chunkOf, completionBody, replyPlain, type Script, startUpstream, type Upstream } from '../support/upstream.ts'

let upstream: Upstream
let harness: Harness

afterEach(async () => {
  await harness?.close()
  await upstream?.close()
})

const body = (stream: boolean) => JSON.stringify({ model: 'auto', messages: [{ role: 'user', content: 'Hi' }], stream })

/** A client that leaves: after the first bytes of the answer, or as soon as the upstream has the request. */
function ask(stream: boolean) {
  const request = httpRequest(`${harness.url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
  })
  request.on('error', () => {})
  request.end(body(stream))
  return request
}

const eventually = async (holds: () => boolean) => {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  expect(holds()).toBe(true)
}

const untilClosed: Script = async (exchange) => {
  await exchange.closed
}

describe('disconnect', () => {
  test.each([
    ['before the first byte', true],
    ['of a plain request', false],
  ])('%s: the upstream is aborted, nothing is tried again', async (_, stream) => {
    upstream = await startUpstream(untilClosed)
    harness = await startHarness({ origins: [upstream.origin] })
    const client = ask(stream)
    await eventually(() => upstream.busy === 1)
    client.destroy()
    await eventually(() => upstream.busy === 0)
    const [result] = await harness.settled(1)
    expect(result?.error).toMatchObject({ status: 499, attempts: [{ error: 'aborted' }] })
    expect(upstream.requests.length).toBe(1)
    expect([...harness.breakers.states().values()]).toEqual(['closed'])
  })

  test.each([true, false])(
    'while the whole answer is written down, streamed: %s: it was not sent in whole',
    async (stream) => {
      const replyOnce: Script = async (exchange) => {
        exchange.stream()
        exchange.chunk(`data: ${JSON.stringify(chunkOf({ content: 'one' }, 'stop'))}\n\ndata: [DONE]\n\n`)
        exchange.end()
      }
      upstream = await startUpstream(stream ? replyOnce : replyPlain(200, completionBody('x'.repeat(1e6))))
      let client: ReturnType<typeof ask> | undefined
      let leaves = false
      harness = await startHarness({
        origins: [upstream.origin],
        onEnding: async () => {
          leaves = true
          client?.destroy()
          await new Promise((seen) => setTimeout(seen, 100))
        },
      })
      client = ask(stream)
      const [result] = await harness.settled(1)
      expect(leaves).toBe(true)
      expect(result?.outcome).toMatchObject({ error: 'aborted', finishReason: 'aborted' })
    },
  )

  test('mid-stream: the upstream is aborted, partial tokens are billed', async () => {
    upstream = await startUpstream(async (exchange) => {
      exchange.stream()
      for (const content of ['one', ' two', ' three']) exchange.event(chunkOf({ content }))
      await exchange.closed
    })
    harness = await startHarness({ origins: [upstream.origin] })
    const client = ask(true)
    client.on('response', (response) => response.once('data', () => client.destroy()))
    await eventually(() => upstream.busy === 0 && upstream.requests.length === 1)
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({ error: 'aborted', finishReason: 'aborted', usageEstimated: true })
    expect(result?.outcome?.usage.completionTokens).toBeGreaterThanOrEqual(3)
  })

  test('while waiting to ask again: no further try', async () => {
    upstream = await startUpstream(replyPlain(429, { error: { message: 'later' } }, { 'retry-after': '1.5' }))
    harness = await startHarness({ origins: [upstream.origin] })
    const client = ask(false)
    await eventually(() => upstream.requests.length === 1)
    client.destroy()
    const [result] = await harness.settled(1)
    expect(result?.error).toMatchObject({ status: 499 })
    expect(upstream.requests.length).toBe(1)
  })
})

describe('slow reader', () => {
  const MEGABYTE = 1024 * 1024
  const event = `data: ${JSON.stringify(chunkOf({ content: 'x'.repeat(16_000) }))}\n\n`

  /** Streams as fast as it may, up to 256 MB. */
  const firehose =
    (sent: { bytes: number }): Script =>
    async (exchange) => {
      exchange.stream()
      const gone = exchange.closed.then(() => true)
      while (sent.bytes < 256 * MEGABYTE) {
        exchange.chunk(event)
        sent.bytes += event.length
        if (!exchange.socket.writableNeedDrain) continue
        const room = new Promise<boolean>((resolve) => exchange.socket.once('drain', () => resolve(false)))
        if (await Promise.race([gone, room])) return
      }
    }

  /** A client that sends a request and never reads. */
  function neverReads() {
    const { port } = new URL(harness.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.pause()
    socket.on('error', () => {})
    const text = body(true)
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
    )
    return socket
  }

  test('backpressure reaches the upstream: 256 MB do not pile up here, and the write-idle timeout lets the client go', async () => {
    const sent = { bytes: 0 }
    upstream = await startUpstream(firehose(sent))
    harness = await startHarness({ origins: [upstream.origin], writeIdleMs: 1_000, timeouts: { content_idle_ms: 200 } })
    const client = neverReads()
    await eventually(() => sent.bytes > 0)
    const [result] = await harness.settled(1)
    expect(result?.outcome).toMatchObject({ error: 'slow_reader', finishReason: 'aborted' })
    // What the kernel's socket buffers and ours hold, on both sides.
    expect(sent.bytes).toBeLessThan(20 * MEGABYTE)
    await eventually(() => upstream.busy === 0)
    client.destroy()
  })

  test('a reader that is slow but reads gets it all: the provider is not blamed for its pauses', async () => {
    const words = Array.from({ length: 40 }, (_, index) => `${index} ${'y'.repeat(100_000)}`)
    upstream = await startUpstream(async (exchange) => {
      exchange.stream()
      for (const content of words) exchange.event(chunkOf({ content }))
      exchange.event(chunkOf({}, 'stop'))
      exchange.chunk('data: [DONE]\n\n')
      exchange.end()
    })
    harness = await startHarness({ origins: [upstream.origin], timeouts: { content_idle_ms: 100 } })
    let size = 0
    let tail = ''
    await new Promise<void>((resolve) => {
      ask(true).on('response', async (response) => {
        for await (const bytes of response) {
          size += bytes.length
          tail = (tail + bytes.toString()).slice(-100)
          if (size < 1_000_000) await new Promise((next) => setTimeout(next, 60))
        }
        resolve()
      })
    })
    expect(size).toBeGreaterThan(4_000_000)
    expect(tail).toContain('[DONE]')
    expect((await harness.settled(1))[0]?.outcome).toMatchObject({ error: null, finishReason: 'stop' })
  })
})
