import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { adminCall, call, complete, metric } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * One person is one voice: nobody decides for a tenant what its LLMs are worth by making up user ids. Through the real
 * gateway, learner and artifact, over days on a clock that jumps. `VOICES=whole` runs the crowds of docs/security.md.
 */
const WHOLE = process.env.VOICES === 'whole'
const CLOCK = new URL('../support/jumping-clock.mjs', import.meta.url).href
const clockFile = join(mkdtempSync(join(tmpdir(), 'clock-')), 'seconds')
const DAY_S = 86_400
const DAYS = 3
const TOKEN_SECRET = 'secret-of-the-web-interface'

const PRICES = { cheap: { input: 0.1, output: 0.4 }, mid: { input: 1, output: 4 }, dear: { input: 15, output: 60 } }
const TWINS = ['left', 'right']
const VOUCHED = ['vouched', 'vouched-few', 'vouched-twins', 'erased']
const TENANTS = [
  ...[
    'idle',
    'loud',
    'crowd',
    'patient',
    'keys',
    'defended',
    'honest',
    'tokens',
    'twins',
    'few-twins',
    'idle-twins',
    'named',
  ],
  ...VOUCHED,
]
const keyOf = (tenant: string, i = 0) => `pr-${tenant}-key-${i}-0123456789`

let upstream: Upstream
let gateway: RunningGateway
let answers = 0
let seconds = 0

// Each looks at fifty questions or more: on a busy machine that takes seconds.
vi.setConfig({ testTimeout: 120_000 })

async function start() {
  writeFileSync(clockFile, '0')
  // Answers tell nothing of lengths, which this is not about: `test/learning/lengths.test.ts`.
  const body = { ...completionBody(), usage: undefined }
  upstream = await startUpstream((exchange) => exchange.reply(200, { ...body, id: `c-${answers++}` }))
  const provider = { provider: 'up', groups: ['default'] }
  gateway = await startGateway(
    {
      providers: {
        up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, auth: 'none', key_required: false },
      },
      candidates: [
        ...Object.entries(PRICES).map(([name, price]) => ({ ...provider, name, price })),
        ...TWINS.map((name) => ({ provider: 'up', name, price: PRICES.mid, groups: ['twins'] })),
      ],
      identity: { jwt: { secret: TOKEN_SECRET } },
      tenants: TENANTS.map((name) => ({
        name,
        candidates: [name.endsWith('twins') ? 'twins' : 'default'],
        keys: Array.from({ length: 8 }, (_, i) => keyOf(name, i)),
        vouched_users: VOUCHED.includes(name),
      })),
    },
    { env: { NODE_OPTIONS: `--import=${CLOCK}`, CLOCK_FILE: clockFile } },
  )
}

async function sleepADay(): Promise<void> {
  seconds += DAY_S
  writeFileSync(clockFile, `${seconds}`)
  const seen = () => existsSync(`${clockFile}.seen`) && readFileSync(`${clockFile}.seen`, 'utf8')
  await eventually(() => seen() === `${seconds * 1000}`, 'the gateway has seen the next day')
}

interface Rater {
  tenant: string
  user: string
  key: number
  /** Which of two candidates is rated up; the other one is rated down. */
  wish: string
  other: string
  /** The user's name comes in a signed token. */
  signed: boolean
}

const crowd = (
  tenant: string,
  n: number,
  wish = 'dear',
  { keys = 1, name = 'made-up', signed = false, other = wish === 'dear' ? 'cheap' : 'dear' } = {},
): Rater[] =>
  Array.from({ length: n }, (_, i) => ({ tenant, user: `${name}-${i}`, key: i % keys, wish, other, signed }))

const tokenOf = (user: string) =>
  new SignJWT({ sub: user })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('30d')
    .sign(new TextEncoder().encode(TOKEN_SECRET))

async function rate({ tenant, user, key, wish, other, signed }: Rater, i: number): Promise<void> {
  const headers = signed ? { 'x-openwebui-user-jwt': await tokenOf(user) } : { 'x-user-id': user }
  const options = { key: keyOf(tenant, key), headers }
  const model = i % 2 ? wish : other
  const messages = [{ role: 'user', content: `${PROMPTS[(i >> 1) % PROMPTS.length]} (${i})` }]
  const answer = await complete(gateway, { model, messages }, options)
  expect(answer.status).toBe(200)
  const body = { request_id: answer.headers.get('x-request-id'), rating: model === wish ? 'up' : 'down' }
  expect((await call(gateway, '/v1/feedback', { ...options, body })).status).toBe(202)
}

/** A few at a time; `round` so that everybody speaks of both candidates in turn. */
async function rateAll(raters: readonly Rater[], round = 0): Promise<void> {
  for (let i = 0; i < raters.length; i += 8) {
    await Promise.all(raters.slice(i, i + 8).map((rater, k) => rate(rater, i + k + round)))
  }
}

const PROMPTS = [
  'Why is the sky blue?',
  'Sort a list in Python.',
  'Translate "good night".',
  'Explain inflation.',
  'Plan a weekend in Rome.',
  'What is 17 * 23?',
  'Write a limerick.',
  'How do vaccines work?',
  'Summarise the French Revolution.',
  'Fix this SQL query: SELEC 1',
]

interface Served {
  /** Mean propensity of each candidate. */
  [candidate: string]: number
}

/** What five strangers get for ten questions. */
async function served(tenant: string): Promise<Served> {
  const mean: Served = {}
  for (let user = 0; user < 5; user++) {
    for (const content of PROMPTS) {
      const body = { model: 'auto', messages: [{ role: 'user', content }] }
      const options = { key: keyOf(tenant), user: `stranger-${user}`, body }
      const { candidates } = await (await call(gateway, '/v1/router/explain', options)).json()
      for (const { name, propensity } of candidates) mean[name] = (mean[name] ?? 0) + propensity / 50
    }
  }
  if (WHOLE) console.log(tenant, JSON.stringify(mean))
  return mean
}

const of = (n: number, whole: number) => (WHOLE ? whole : n)
const patient = [
  ...crowd('patient', of(50, 500)),
  ...crowd('keys', of(50, 500), 'dear', { keys: 5 }),
  ...crowd('defended', 20, 'cheap', { name: 'honest', signed: true }),
  ...crowd('defended', of(60, 500)),
  ...crowd('honest', 40, 'dear', { name: 'honest' }),
  ...crowd('tokens', 40, 'dear', { name: 'honest', signed: true }),
  ...crowd('vouched', 40, 'dear', { name: 'honest' }),
  ...crowd('vouched-few', 4, 'dear', { name: 'honest' }),
  ...crowd('twins', 14, 'left', { other: 'right' }),
  ...crowd('few-twins', 12, 'left', { other: 'right' }),
  ...crowd('vouched-twins', 6, 'left', { other: 'right' }),
]
/** Colleagues who come with signed tokens, as somebody with a plain key names them. */
const colleagues = (wish: string, signed = false) => crowd('named', 12, wish, { name: 'colleague', signed })
let idle: Served

/** Two people rate on a day and the next, and have themselves erased. */
async function comeAndGo(day: number): Promise<void> {
  const both = crowd('erased', 2, 'dear', { name: 'fickle' })
  for (const round of day === 0 ? [0, 1, 2, 3] : [0, 1]) for (const one of both) await rate(one, round)
  if (day === 0) return
  for (const { user } of both) {
    const erased = await call(gateway, `/v1/users/${user}/profile`, { key: keyOf('erased'), method: 'DELETE' })
    expect(erased.status).toBe(200)
  }
  await setTimeout(2)
  for (const round of [0, 1, 2, 3]) for (const one of both) await rate(one, round)
}

beforeAll(async () => {
  await start()
  idle = await served('idle')
  await rateAll(Array.from({ length: of(60, 1_000) }, () => crowd('loud', 1)[0] as Rater))
  await rateAll(crowd('crowd', of(50, 500)))
  for (let day = 0; day < DAYS; day++) {
    await rateAll(patient, day)
    await comeAndGo(day)
    if (day === 0) for (let round = 0; round < 6; round++) await rateAll(colleagues('dear'), round)
    await sleepADay()
  }
  await rateAll(colleagues('cheap', true), 1)
  // Evidence is read again within two seconds after the last word.
  await setTimeout(3_000)
}, 900_000)
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

test.each([
  ['one id that speaks all the time', 'loud', 0],
  ['a crowd that was made up today', 'crowd', 0],
  ['a crowd on one key that was patient for days', 'patient', 0.03],
  ['a patient crowd on five of a tenant’s keys', 'keys', 0.1],
  ['a patient crowd on a key, beside twenty users with tokens', 'defended', 0.03],
  ['who has a plain key and names twelve colleagues that come with tokens', 'named', 0],
])('%s does not turn the tenant', async (_, tenant, atMost) => {
  const { cheap = 0, dear = 0 } = await served(tenant)
  if (atMost === 0) expect({ cheap, dear }).toEqual({ cheap: idle.cheap, dear: idle.dear })
  expect(dear - (idle.dear ?? 0)).toBeLessThanOrEqual(atMost)
  expect(cheap).toBeGreaterThan(0.8)
})

test('nobody who has themselves erased and comes back is a voice more', async () => {
  const { candidates } = await (await adminCall(gateway, '/evidence?tenant=erased')).json()
  const users = (of: { opinions: { users: number }[] }) => of.opinions.reduce((sum, one) => sum + one.users, 0)
  expect(candidates.map(users)).toEqual([2, 2].map((n) => expect.closeTo(n, 0)))
  expect(await served('erased')).toEqual(idle)
})

test.each([
  ['whom their tenant vouches for', 'vouched'],
  ['who come with signed tokens', 'tokens'],
])('forty honest users %s do', async (_, tenant) => {
  expect((await served(tenant)).dear).toBeGreaterThan(0.8)
})

test('a few of them do not, nor can anybody read from what is served what they said', async () => {
  expect(await served('vouched-few')).toEqual(idle)
})

test('on one key that vouches for none, fourteen users turn what a card alone said of two models; twelve are too few', async () => {
  const prior = await served('idle-twins')
  expect(prior.left).toBeLessThan(0.3)
  expect(await served('few-twins')).toEqual(prior)
  expect((await served('twins')).left).toBeGreaterThan(0.8)
  expect((await served('vouched-twins')).left).toBeGreaterThan(0.8)
})

test('the crowds raise an alarm, and what they said can be seen and reset', async () => {
  expect(await metric(gateway, 'persona_router_evidence_surges_total')).toBeGreaterThan(2)
  expect(gateway.stdout()).toMatch(/"tenant":"crowd","candidate":"dear","users":20,"mean":1[^\n]*many new users rate/)
  const look = async () => (await adminCall(gateway, '/evidence?tenant=keys')).json()
  const { policy, quorum, candidates } = await look()
  expect({ policy, quorum }).toEqual({ policy: expect.any(String), quorum: 5 })
  const dear = candidates.find(({ candidate }: { candidate: string }) => candidate === 'dear')
  expect(dear).toMatchObject({ counts: true })
  expect(dear.opinions.flatMap(({ keys }: { keys: string[] }) => keys)).toContain('config-keys-0')
  expect(dear.opinions.every(({ mean, voice }: { mean: number; voice: string }) => mean === 1 && voice === 'key')).toBe(
    true,
  )
  expect((await adminCall(gateway, '/evidence?tenant=nobody')).status).toBe(404)
  const reset = (query: string) => adminCall(gateway, `/evidence?tenant=keys${query}`, { method: 'DELETE' })
  expect(await (await reset('&model=dear')).json()).toMatchObject({ dropped: dear.opinions.length })
  expect((await look()).candidates.map(({ candidate }: { candidate: string }) => candidate)).toEqual(['cheap'])
  expect((await (await reset('')).json()).dropped).toBeGreaterThan(0)
  await eventually(async () => {
    const { cheap = 0, dear: left = 0 } = await served('keys')
    return cheap === idle.cheap && left === idle.dear
  }, 'what is served after the reset')
})
