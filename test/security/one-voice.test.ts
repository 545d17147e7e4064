import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { slotOf, voiceOf } from '../../src/routing/choose/evidence.ts'
import { adminCall, call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * What one person's requests have met is measured, not said: how long answers are, what a model refuses, how slow it
 * is, whether it fails. Whoever has a key can make a model write at length, refuse, be slow and fail; none of it moves
 * what others are served. Ratings: `voices.test.ts`.
 */
const PRICES = { cheap: { input: 0.1, output: 0.4 }, mid: { input: 1, output: 4 }, dear: { input: 15, output: 60 } }
const VOUCHED = ['vouched', 'beside', 'calm', 'single-user']
const TENANTS = ['idle', 'single-key', 'keys', 'five-keys', 'all-keys', 'refusals', 'slow', 'breaking', ...VOUCHED]
const keyOf = (tenant: string, i = 0) => `pr-${tenant}-key-${i}-0123456789abcdef`
const KEYS = 40
/** Of a tenant's keys, some whose voices differ; the first is the strangers'. */
const apart = (tenant: string) => {
  const slots = new Set<number>()
  return Array.from({ length: KEYS }, (_, i) => i).filter((i) => {
    const slot = slotOf(`config-${tenant}-${i}`)
    return !slots.has(slot) && slots.add(slot)
  })
}

/** As answers are where nobody makes them longer: the card's own guess, by and large. */
const USUAL_TOKENS = 300

let upstream: Upstream
let gateway: RunningGateway
let answers = 0

vi.setConfig({ testTimeout: 120_000 })

async function answer(exchange: Exchange): Promise<void> {
  const { model, messages } = exchange.json as { model: string; messages: { content: string }[] }
  const asked = messages.at(-1)?.content ?? ''
  if (model === 'cheap' && asked.includes('REFUSE')) {
    const message = "Unsupported parameter: 'seed' is not supported with this model."
    return exchange.reply(400, { error: { message, type: 'invalid_request_error', param: 'seed' } })
  }
  if (model === 'cheap' && asked.includes('BREAK')) return exchange.reply(500, { error: { message: 'broken' } })
  if (asked.includes('SLOW')) await setTimeout(400)
  const completion_tokens = asked.includes('LONG') ? 30_000 : USUAL_TOKENS
  const usage = { prompt_tokens: 10, completion_tokens, total_tokens: 10 + completion_tokens }
  exchange.reply(200, { ...completionBody(), usage, id: `c-${answers++}` })
}

beforeAll(async () => {
  upstream = await startUpstream((exchange) => void answer(exchange))
  const provider = { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false }
  gateway = await startGateway({
    providers: { up: provider },
    candidates: Object.entries(PRICES).map(([name, price]) => ({ provider: 'up', name, price })),
    tenants: TENANTS.map((name) => ({
      name,
      keys: Array.from({ length: KEYS }, (_, i) => keyOf(name, i)),
      vouched_users: VOUCHED.includes(name),
    })),
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

interface Asking {
  tenant: string
  key?: number
  user?: string
}

const ask = ({ tenant, key = 0, user = 'mallory' }: Asking, content: string, model = 'cheap', headers = {}) =>
  complete(gateway, { model, messages: [{ role: 'user', content }] }, { key: keyOf(tenant, key), user, headers })

async function askMany(who: Asking, n: number, content: string): Promise<void> {
  for (let i = 0; i < n; i += 8) {
    const some = Array.from({ length: Math.min(8, n - i) }, (_, k) => ask(who, `${content} ${i + k}`))
    for (const { status } of await Promise.all(some)) expect(status).toBe(200)
  }
}

const PROMPTS = ['Why is the sky blue?', 'Sort a list in Python.', 'Translate "good night".', 'Explain inflation.']

/** As somebody sees the candidates: mean propensity over some questions, and why one is left out. */
async function seenBy({ tenant, key = 0, user = 'stranger' }: Asking, headers: Record<string, string> = {}) {
  const mean: Record<string, number> = {}
  const excluded: Record<string, string | null> = {}
  for (const content of PROMPTS) {
    const body = { model: 'auto', messages: [{ role: 'user', content }] }
    const options = { key: keyOf(tenant, key), user, body, headers }
    const { candidates } = await (await call(gateway, '/v1/router/explain', options)).json()
    for (const { name, propensity, excluded_code } of candidates) {
      mean[name] = (mean[name] ?? 0) + propensity / PROMPTS.length
      excluded[name] = excluded_code
    }
  }
  return { mean, excluded }
}

describe('how long answers are', () => {
  const vouched = (user: string) => voiceOf({ user, key: '', vouched: true })
  const [stranger = '', mallory = '', ann = '', bob = '', cleo = ''] = ['stranger', ...'abcdefghijkl'].filter(
    (user, i, all) => all.findIndex((other) => vouched(other) === vouched(user)) === i,
  )
  let idle: Awaited<ReturnType<typeof seenBy>>['mean']

  beforeAll(async () => {
    idle = (await seenBy({ tenant: 'idle' })).mean
    const keysOf = (tenant: string, n: number) => apart(tenant).slice(1, n + 1)
    const attack = (who: Asking) => askMany(who, 16, 'LONG')
    await Promise.all([
      attack({ tenant: 'single-key' }),
      attack({ tenant: 'single-user', user: 'solo' }),
      attack({ tenant: 'vouched', user: mallory }),
      attack({ tenant: 'beside', user: mallory }),
      ...keysOf('keys', 1).map((key) => attack({ tenant: 'keys', key })),
      ...keysOf('five-keys', 5).map((key) => attack({ tenant: 'five-keys', key })),
      ...keysOf('all-keys', 6).map((key) => attack({ tenant: 'all-keys', key })),
      ...['beside', 'calm'].flatMap((tenant) => [ann, bob, cleo].map((user) => askMany({ tenant, user }, 6, 'Hi'))),
    ])
    // What has been answered is read after five seconds, and served within two.
    await eventually(async () => {
      const lengths = await Promise.all(
        ['single-key', 'single-user', 'vouched', 'beside', 'calm', 'keys', 'five-keys', 'all-keys'].map(
          async (name) => {
            const { lengths: shown } = await (await adminCall(gateway, `/evidence?tenant=${name}`)).json()
            return shown?.[0]?.measured.length ?? 0
          },
        ),
      )
      return lengths.join() === '1,1,1,4,3,1,5,6'
    }, 'all lengths are learned')
    await setTimeout(3_000)
  }, 300_000)

  test.each([
    ['the only key of a tenant', { tenant: 'single-key', user: 'another' }],
    ['the only user', { tenant: 'single-user', user: 'solo' }],
  ])('sixteen long answers are learned for %s', async (_, who) => {
    const { mean } = await seenBy(who)
    expect(idle.cheap).toBeGreaterThan(0.8)
    expect(mean.cheap).toBeLessThan(0.2)
  })

  test.each([
    ['another key', { tenant: 'keys', key: 0 }],
    ['another user whom somebody vouches for', { tenant: 'vouched', user: stranger }],
    ['another key, where one person has five', { tenant: 'five-keys', key: 0 }],
  ])('they move nothing for %s', async (_, who) => {
    expect((await seenBy(who)).mean).toEqual(idle)
  })

  test('beside users who are answered as usual they move little, for whoever asks', async () => {
    for (const user of [stranger, ann, mallory]) {
      const calm = (await seenBy({ tenant: 'calm', user })).mean
      const { mean } = await seenBy({ tenant: 'beside', user })
      expect(Math.abs((mean.cheap ?? 0) - (calm.cheap ?? 0))).toBeLessThan(0.05)
    }
  })

  test('what six keys measure is told to all', async () => {
    expect((await seenBy({ tenant: 'all-keys', key: 0 })).mean.cheap).toBeLessThan(0.2)
  })

  test('can be seen, and forgotten', async () => {
    const look = async () => (await adminCall(gateway, '/evidence?tenant=single-key')).json()
    const { lengths } = await look()
    expect(lengths).toEqual([
      { candidate: 'cheap', counts: false, voices: 0.5, measured: [expect.objectContaining({ voice: 'key' })] },
    ])
    expect(lengths[0].measured[0]).toMatchObject({ answers: expect.closeTo(16, 1), keys: expect.any(Array) })
    expect(lengths[0].measured[0].times_as_long).toBeGreaterThan(20)
    const gone = await adminCall(gateway, '/evidence?tenant=single-key&model=cheap', { method: 'DELETE' })
    expect(await gone.json()).toMatchObject({ lengths: 1 })
    await eventually(
      async () => (await seenBy({ tenant: 'single-key' })).mean.cheap === idle.cheap,
      'what is served after the reset',
    )
  })
})

describe('what a model refuses', () => {
  const allow = { 'x-router-allow': 'cheap,mid', 'x-router-explore': 'off' }
  const keys = apart('refusals')
  const send = async (key: number, content: string) => {
    const body = { model: 'auto', seed: 1, messages: [{ role: 'user', content }] }
    const answered = await complete(gateway, body, { key: keyOf('refusals', key), headers: allow })
    expect(answered.status).toBe(200)
    await answered.text()
    return answered.headers.get('x-router-dropped')
  }
  /** What of a harmless request with a seed does not arrive. */
  const droppedFor = (key: number) => send(key, 'Hi')

  test('a request made so that it refuses what all send spares who made it, and moves nobody else', async () => {
    const [honest = 0, ...others] = keys
    await send(others[0] as number, 'REFUSE')
    expect(await droppedFor(others[0] as number)).toBe('seed')
    expect(await droppedFor(honest)).toBeNull()
    const shown = async () => (await (await adminCall(gateway, '/refusals?tenant=refusals')).json()).data
    await eventually(async () => (await shown()).length === 1, 'it is kept')
    expect(await shown()).toEqual([expect.objectContaining({ refused: 'seed', counts: false })])
    // Several have met the same.
    for (const key of others.slice(1, 4)) await send(key, 'REFUSE')
    expect(await droppedFor(honest)).toBe('seed')
    await eventually(async () => (await shown())[0]?.counts === true, 'it counts for all')
    const { refused } = (await shown())[0]
    const gone = await adminCall(gateway, `/refusals?tenant=refusals&refused=${encodeURIComponent(refused)}`, {
      method: 'DELETE',
    })
    expect(await gone.json()).toEqual({ forgotten: 1 })
    for (const key of keys.slice(0, 4)) expect(await droppedFor(key)).toBeNull()
  })
})

test('how slow one makes it looks slow to nobody else, of that tenant or another', async () => {
  const within = { 'x-router-max-latency-ms': '200' }
  const slow = { tenant: 'slow', key: 1 }
  for (let i = 0; i < 3; i++) expect((await ask(slow, 'SLOW', 'dear')).status).toBe(200)
  expect((await seenBy(slow, within)).excluded.dear).toBe('latency')
  for (const who of [{ tenant: 'slow' }, { tenant: 'idle' }]) {
    expect((await seenBy(who, within)).excluded.dear).toBeNull()
  }
})

test('a question that breaks it, asked with several keys, takes it from nobody', async () => {
  for (let i = 0; i < 12; i++) {
    expect((await ask({ tenant: 'breaking', key: i % 4 }, 'BREAK')).status).toBe(502)
  }
  for (const who of [{ tenant: 'breaking', key: 8 }, { tenant: 'idle' }]) {
    expect((await ask(who, 'Hi')).status).toBe(200)
    expect((await seenBy(who)).excluded.cheap).toBeNull()
  }
})
