import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { configSchema } from '../../../src/config/schema.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { anInteraction } from '../../store/records.ts'
import { call, complete } from '../../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { openRaw } from '../../support/raw-http.ts'
import { startRedis } from '../../support/redis.ts'
import { replyPlain, startUpstream } from '../../support/upstream.ts'

/**
 * What a tenant's valid key can do to another tenant: `npm run attacks` prints the figures of docs/security.md, of
 * this machine at this time. The tests of the same attacks (`admission.test.ts`) decide by counts, never by time.
 */
const MB = 1024 * 1024
const OTHER = 'pr-other-key-0123456789abcdef'
const FREE = 'pr-free-key-0123456789abcdef'
const LIMITED = Array.from({ length: 8 }, (_, i) => `pr-limited-${i}-0123456789abcdef`)
/** The user `large`, as it stands in the store. */
const LARGE = 'p:large'
const ROWS = Number(process.env.ROWS ?? 100_000)

/** `ATTACKS=bodies,floods,profile,redis`: those alone. */
const only = process.env.ATTACKS?.split(',')
const wants = (what: string) => only === undefined || only.includes(what)

const upstream = await startUpstream(replyPlain())
const config = {
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 } }],
  tenants: [
    { name: 'other', keys: [OTHER] },
    { name: 'free', keys: [FREE], plain_user_ids: true },
    ...LIMITED.map((key, i) => ({ name: `limited-${i}`, keys: [key], limits: { requests_per_minute: 10 } })),
  ],
}

const rssMb = (gateway: RunningGateway) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${gateway.process.pid}/status`, 'utf8'))?.[1]) / 1024

const quantile = (times: number[], q: number) =>
  times.sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(q * times.length))] ?? Number.NaN

/** Asks as the other tenant, one request after the other, until the attack is over. */
async function during(gateway: RunningGateway, attack: Promise<unknown>) {
  const times: number[] = []
  let [isOver, failed, most] = [false, 0, 0]
  const over = attack.finally(() => {
    isOver = true
  })
  while (!isOver) {
    const from = performance.now()
    const answer = await complete(gateway, { model: 'one' }, { key: OTHER })
    await answer.text()
    times.push(performance.now() - from)
    if (answer.status !== 200) failed++
    most = Math.max(most, rssMb(gateway))
  }
  await over
  const figures = `p50 ${quantile(times, 0.5).toFixed(0)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms of ${times.length}`
  return `another tenant: ${figures}, ${failed} failed; RSS at most ${most.toFixed(0)} MB`
}

const tell = (what: string, figures: string) => console.log(`${what}\n    ${figures}`)
const statusesOf = (all: { status: number }[]) =>
  [...Map.groupBy(all, ({ status }) => status)].map(([status, some]) => `${some.length} x ${status}`).join(', ')

async function withheld(gateway: RunningGateway, key: string) {
  const connections = await Promise.all(Array.from({ length: 40 }, () => openRaw(gateway.url)))
  const part = Buffer.alloc(20 * MB - 1, ' ')
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer ${key}\r\ncontent-length: ${part.length + 1}\r\n\r\n`
  for (const connection of connections) connection.send(Buffer.concat([Buffer.from(head), part]))
  await sleep(8_000)
  const refused = connections.filter(({ received }) => /^HTTP\/1\.1 (429|503)/.test(received)).length
  for (const connection of connections) connection.destroy()
  return refused
}

/** Sixteen at a time: more would measure this process, which is the client of both. */
async function flood(count: number, send: (i: number) => Promise<Response>): Promise<Response[]> {
  const answers: Response[] = []
  let sent = 0
  const line = async () => {
    while (sent < count) {
      const answer = await send(sent++)
      await answer.arrayBuffer()
      answers.push(answer)
    }
  }
  await Promise.all(Array.from({ length: 16 }, line))
  return answers
}

async function onSqlite() {
  const gateway = await startGateway(config)
  const store = new SqliteStore({ kind: 'sqlite', path: join(gateway.dir, 'gateway.db'), retention_days: 90 })
  try {
    tell('nothing', await during(gateway, sleep(4_000)))
    let refused = 0
    const holders: [string, string][] = [
      ['of 10 requests a minute', LIMITED[0] as string],
      ['without limits', FREE],
    ]
    for (const [whose, key] of wants('bodies') ? holders : []) {
      const attack = withheld(gateway, key).then((count) => (refused = count))
      tell(`40 bodies of 20 MB, the last byte held back, by a tenant ${whose}`, await during(gateway, attack))
      console.log(`    ${refused} of 40 refused`)
    }
    const floods: [string, (i: number) => Promise<Response>][] = [
      ['explain', () => explainOf(gateway, LIMITED[1] as string)],
      ['models', () => call(gateway, '/v1/models', { key: LIMITED[2] as string })],
      ['feedback', (i) => feedbackOf(gateway, LIMITED[3] as string, i)],
      ['bodies of 120 KB', () => largeOf(gateway, LIMITED[4] as string)],
    ]
    for (const [what, send] of wants('floods') ? floods : []) {
      let statuses = ''
      const attack = flood(2_000, send).then((all) => (statuses = statusesOf(all)))
      tell(`2,000 times ${what}, under 10 requests a minute`, await during(gateway, attack))
      console.log(`    ${statuses}`)
    }
    if (!wants('profile')) return
    for (let i = 0; i < ROWS; i += 1_000) {
      await store.appendInteractions(
        Array.from({ length: 1_000 }, () => anInteraction({ tenant: 'free', user: LARGE })),
      )
    }
    for (const count of [1, 4]) {
      let bytes = 0
      const read = async () => {
        const answer = await call(gateway, '/v1/users/large/profile', { key: FREE })
        for await (const piece of answer.body ?? []) bytes += piece.length
      }
      const from = performance.now()
      const figures = await during(gateway, Promise.all(Array.from({ length: count }, read)))
      const took = `${((performance.now() - from) / 1e3).toFixed(1)} s, ${(bytes / MB).toFixed(0)} MB`
      tell(`SQLite, a profile of ${ROWS} rows, ${count} at once: ${took}`, figures)
    }
    const from = performance.now()
    const gone = call(gateway, '/v1/users/large/profile', { key: FREE, method: 'DELETE' })
    const figures = await during(gateway, gone)
    tell(`SQLite, erasing it: ${((performance.now() - from) / 1e3).toFixed(1)} s, ${(await gone).status}`, figures)
  } finally {
    await store.close()
    await discard(gateway)
  }
}

const message = { role: 'user', content: 'Hi' }
const explainOf = (gateway: RunningGateway, key: string) =>
  call(gateway, '/v1/router/explain', { key, body: { model: 'one', messages: [message] } })
const feedbackOf = (gateway: RunningGateway, key: string, i: number) =>
  call(gateway, '/v1/feedback', { key, body: { completion_id: `none-${i}`, rating: 'up', comment: 'x'.repeat(3_900) } })
const LARGE_BODY = JSON.stringify({ model: 'one', messages: [{ role: 'user', content: 'word '.repeat(24_000) }] })
const largeOf = (gateway: RunningGateway, key: string) =>
  call(gateway, '/v1/chat/completions', { key, body: LARGE_BODY, headers: { 'content-type': 'application/json' } })

async function onRedis() {
  const redis = await startRedis()
  const store = { kind: 'redis', url: redis.url }
  const gateway = await startGateway({ ...config, store })
  const parsed = configSchema.parse({ store: { ...store, command_timeout_ms: 10_000 } }).store
  const direct = new RedisStore(parsed as Extract<typeof parsed, { kind: 'redis' }>)
  try {
    await direct.connect()
    const turn = { candidate: 'c', interaction: 'i', user: LARGE, lastUserHash: '', vector: null, messages: 1 }
    for (let i = 0; i < ROWS; i += 1_000) {
      await direct.appendInteractions(
        Array.from({ length: 1_000 }, () => anInteraction({ tenant: 'free', user: LARGE })),
      )
      await Promise.all(
        Array.from({ length: 5_000 }, (_, k) =>
          direct.saveConversation('free', `c-${5 * i + k}`, { ...turn, promptTokens: 1, ts: 1 }, 86_400),
        ),
      )
    }
    await redis.command('CONFIG', 'SET', 'slowlog-log-slower-than', 1_000)
    await redis.command('SLOWLOG', 'RESET')
    const from = performance.now()
    const gone = call(gateway, '/v1/users/large/profile', { key: FREE, method: 'DELETE' })
    const figures = await during(gateway, gone)
    const took = `${((performance.now() - from) / 1e3).toFixed(1)} s, ${(await gone).status}`
    tell(`Redis, erasing ${ROWS} rows and ${5 * ROWS} conversations: ${took}`, figures)
    const slow = (await redis.command('SLOWLOG', 'GET', 1_000)) as [number, number, number, string[]][]
    const [longest] = slow.sort(([, , a], [, , b]) => b - a)
    console.log(`    longest command of Redis ${(longest?.[2] ?? 0) / 1e3} ms (${longest?.[3][0] ?? 'none'})`)
  } finally {
    await direct.close()
    await discard(gateway)
    await redis.discard()
  }
}

if (wants('bodies') || wants('floods') || wants('profile')) await onSqlite()
if (wants('redis')) await onRedis()
await upstream.close()
