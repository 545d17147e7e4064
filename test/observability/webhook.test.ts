import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Webhook as Verifier } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/observability/metrics.ts'
import { type Occurrence, Webhook, webhookSchema } from '../../src/observability/webhook.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const VERDICT: Occurrence = {
  type: 'gain.verdict',
  data: {
    tenant: 'acme',
    policy: '1',
    baseline: 'gpt',
    users: 'all',
    verdict: 'harm',
    low: -0.2,
    high: -0.1,
    ratings: 9,
  },
}

const received: { headers: IncomingHttpHeaders; body: string }[] = []
let answers: number[] = []
const server = createServer(async (incoming, outgoing) => {
  received.push({ headers: incoming.headers, body: await text(incoming) })
  outgoing.writeHead(answers.shift() ?? 200, { location: '/elsewhere' }).end()
})

beforeEach(async () => {
  received.length = 0
  answers = []
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
})
afterEach(() => new Promise((closed) => server.close(closed)))

const logged: object[] = []

function webhook(retryAfterMs: number[] = [1, 1]) {
  logged.length = 0
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  const metrics = createMetrics()
  const hook = new Webhook(() => webhookSchema.parse({ url, secret: SECRET }), {
    metrics,
    log: { warn: (fields: object) => void logged.push(fields) } as never,
    retryAfterMs,
  })
  return { hook, failed: async () => (await metrics.webhookErrors.get()).values[0]?.value ?? 0 }
}

describe('the webhook', () => {
  it('tells what happened, signed as the Standard Webhooks library verifies it', async () => {
    const { hook } = webhook()
    await hook.tell(VERDICT)
    const [{ headers, body }] = received as [(typeof received)[0]]
    expect(new Verifier(SECRET).verify(body, headers as Record<string, string>)).toMatchObject({
      type: 'gain.verdict',
      data: VERDICT.data,
    })
    expect(() => new Verifier(SECRET).verify(`${body} `, headers as Record<string, string>)).toThrow()
  })

  it('sends again what was not taken, under the same id', async () => {
    answers = [500, 503]
    const { hook, failed } = webhook()
    await hook.tell(VERDICT)
    expect(received.map(({ headers }) => headers['webhook-id'])).toEqual(
      Array(3).fill(received[0]?.headers['webhook-id']),
    )
    expect(await failed()).toBe(0)
  })

  it('gives up, counts it, and logs no address', async () => {
    answers = [500, 500, 500]
    const { hook, failed } = webhook()
    await hook.tell(VERDICT)
    expect(received).toHaveLength(3)
    expect(await failed()).toBe(1)
    expect(logged).toEqual([{ type: 'gain.verdict', problem: 'status 500' }])
  })

  it('follows no redirect', async () => {
    answers = [302, 302, 302]
    const { hook, failed } = webhook()
    await hook.tell(VERDICT)
    expect(received.every(({ body }) => body.includes('gain.verdict'))).toBe(true)
    expect(await failed()).toBe(1)
  })

  it('has one id for what several replicas find out on a day, another for what is another', async () => {
    await webhook().hook.tell(VERDICT)
    await webhook().hook.tell({ ...VERDICT, data: { ...VERDICT.data, ratings: 12 } } as Occurrence)
    await webhook().hook.tell({ ...VERDICT, data: { ...VERDICT.data, verdict: 'gain' } } as Occurrence)
    const [first, second, third] = received.map(({ headers }) => headers['webhook-id'])
    expect(second).toBe(first)
    expect(third).not.toBe(first)
  })

  it('does not wait for another try once the process ends', async () => {
    answers = [500, 200]
    const { hook, failed } = webhook([3_600_000])
    const told = hook.tell(VERDICT)
    while (received.length === 0) await new Promise((soon) => setTimeout(soon, 5))
    hook.close()
    await told
    expect(received.length).toBe(2)
    expect(await failed()).toBe(0)
  })
})
