import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { configSchema } from '../../../src/config/schema.ts'
import { RedisStore } from '../../../src/store/redis/store.ts'
import { SqliteStore } from '../../../src/store/sqlite/store.ts'
import { anInteraction } from '../../store/records.ts'
import { call } from '../../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../../support/gateway.ts'
import { startRedis } from '../../support/redis.ts'
import { completionBody, replyPlain, startUpstream } from '../../support/upstream.ts'
import type { Done, Job } from './attacker.ts'
import { type Times, timesDuring } from './measure.ts'
import { routes } from './routes.ts'

/**
 * What a tenant's valid key can do to another tenant: `npm run attacks` prints the figures of docs/security.md, of
 * this machine at this time. The attacker is a process of its own that gets what time is left; this one asks as the
 * other tenant, at a steady rate. Beside each attack stands the same without it: nothing, or the same bytes sent to a
 * server beside the gateway, so that a ratio tells what the gateway, not the machine, makes of it. The tests of the
 * same attacks (`admission.test.ts`) decide by counts, never by time.
 */
const MB = 1024 * 1024
const OTHER = 'pr-other-key-0123456789abcdef'
const FREE = 'pr-free-key-0123456789abcdef'
const LIMITED = Array.from({ length: 8 }, (_, i) => `pr-limited-${i}-0123456789abcdef`)
/** The user `large`, as it stands in the store. */
const LARGE = 'p:large'
const ROWS = Number(process.env.ROWS ?? 100_000)
const SECONDS = Number(process.env.SECONDS ?? 8)

/** `ATTACKS=bodies,floods,kept,large,profile,redis,routes`: those alone; `LARGE=Messages`: those with that word. */
const only = process.env.ATTACKS?.split(',')
const wants = (what: string) => only === undefined || only.includes(what)

const FLOATS = Array.from({ length: 1_536 }, (_, i) => Math.fround(Math.sin(i)))
/** As providers tell them. */
const VECTORS: [form: string, vector: unknown][] = [
  ['floats', FLOATS],
  ['base64', Buffer.from(Float32Array.from(FLOATS).buffer).toString('base64')],
]
let vector: unknown
/** A whole answer, in place of the usual one. */
let large: Buffer | undefined
const plain = replyPlain()
const upstream = await startUpstream((exchange) => {
  if (large) return exchange.reply(200, large)
  const { input } = exchange.json as { input?: unknown }
  if (vector === undefined || !Array.isArray(input)) return plain(exchange)
  const data = input.map((_, index) => ({ object: 'embedding', index, embedding: vector }))
  exchange.reply(200, { object: 'list', data, usage: { prompt_tokens: input.length, total_tokens: input.length } })
})
const config = {
  providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
  candidates: [{ name: 'one', provider: 'up', price: { input: 1, output: 2 }, context_window: 100_000_000 }],
  tenants: [
    { name: 'other', keys: [OTHER] },
    { name: 'free', keys: [FREE], plain_user_ids: true },
    ...LIMITED.map((key, i) => ({ name: `limited-${i}`, keys: [key], limits: { requests_per_minute: 10 } })),
  ],
}

const start = (file: string, ...args: string[]) =>
  spawn(process.execPath, [fileURLToPath(new URL(file, import.meta.url)), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })

async function outputOf(child: ChildProcess): Promise<string> {
  let text = ''
  child.stdout?.on('data', (data) => {
    text += data
  })
  await once(child, 'close')
  return text
}

const attack = async (job: Job): Promise<Done> => JSON.parse(await outputOf(start('attacker.ts', JSON.stringify(job))))

const rssMb = ({ process }: RunningGateway) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${process.pid}/status`, 'utf8'))?.[1]) / 1024

/** The most memory that the gateway has while something lasts. */
async function mostRss(gateway: RunningGateway, during: Promise<unknown>): Promise<number> {
  let [most, isOver] = [0, false]
  const over = during.finally(() => {
    isOver = true
  })
  while (!isOver) {
    most = Math.max(most, rssMb(gateway))
    await sleep(50)
  }
  await over
  return most
}

const ms = ({ p50, p99, count, failed }: Times) =>
  `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)} ms of ${count}${failed > 0 ? `, ${failed} FAILED` : ''}`

/** One attack, and the same time without it. @param beside what goes to the other server meanwhile */
async function compare(gateway: RunningGateway, what: string, job: Job, beside: Promise<unknown>): Promise<Done> {
  const without = await timesDuring(gateway, OTHER, beside)
  const attacking = attack(job)
  const [during, rss] = await Promise.all([timesDuring(gateway, OTHER, attacking), mostRss(gateway, attacking)])
  const done = await attacking
  console.log(`${what}
    without: ${ms(without)}
    during:  ${ms(during)}; RSS at most ${rss.toFixed(0)} MB
    p50 x ${(during.p50 / without.p50).toFixed(2)}, p99 x ${(during.p99 / without.p99).toFixed(2)}; the attacker got ${
      Object.entries(done.statuses)
        .map(([status, count]) => `${count} x ${status}`)
        .join(', ') || 'nothing'
    }`)
  return done
}

async function onSqlite() {
  const gateway = await startGateway(config)
  const store = new SqliteStore({ kind: 'sqlite', path: join(gateway.dir, 'gateway.db'), retention_days: 90 })
  const sink = start('sink.ts')
  const [address] = (await once(sink.stdout as NonNullable<typeof sink.stdout>, 'data')) as [Buffer]
  const beside = String(address).trim()
  const { url } = gateway
  try {
    // The first requests warm it up.
    await timesDuring(gateway, OTHER, sleep(2_000))
    console.log(`nothing\n    ${ms(await timesDuring(gateway, OTHER, sleep(SECONDS * 1e3)))}`)
    const holders: [string, string][] = [
      ['of 10 requests a minute', LIMITED[0] as string],
      ['without limits', FREE],
    ]
    for (const [whose, key] of wants('bodies') ? holders : []) {
      const job: Job = { kind: 'withheld', url, key, connections: 40, bytes: 20 * MB - 1, seconds: SECONDS }
      const what = `40 bodies of 20 MB, the last byte held back, by a tenant ${whose}`
      await compare(gateway, what, job, attack({ ...job, url: beside }))
    }
    const question = { model: 'one', messages: [{ role: 'user', content: 'Hi' }] }
    const long = { ...question, messages: [{ role: 'user', content: 'word '.repeat(24_000) }] }
    const rating = { completion_id: 'none-#', rating: 'up', comment: 'x'.repeat(3_900) }
    const floods: [string, string, unknown, number][] = [
      ['explain', '/v1/router/explain', question, 400],
      ['models', '/v1/models', undefined, 400],
      ['feedback', '/v1/feedback', rating, 400],
      ['bodies of 120 KB', '/v1/chat/completions', long, 100],
    ]
    for (const [i, [what, path, body, perSecond]] of (wants('floods') ? floods : []).entries()) {
      const key = LIMITED[i + 1] as string
      const sent = body === undefined ? {} : { body: JSON.stringify(body) }
      const job: Job = { kind: 'flood', url, key, path, ...sent, perSecond, seconds: SECONDS }
      const title = `${perSecond} times a second ${what}, under 10 requests a minute`
      await compare(gateway, title, job, attack({ ...job, url: beside }))
    }
    if (wants('kept')) {
      const path = '/v1/chat/completions'
      large = Buffer.from(JSON.stringify(completionBody('word '.repeat(40_000))))
      const kept: Job = { kind: 'flood', url, key: FREE, path, perSecond: 20, seconds: SECONDS }
      const body = JSON.stringify(question)
      const once = 'attack-#'
      await compare(gateway, '20 answers of 200 KB a second, each kept', { ...kept, body, once }, quiet())
      large = undefined
      const longest = JSON.stringify({ model: 'one', messages: [{ role: 'user', content: '#@' }] })
      const two: Job = { ...kept, body: longest, fill: 19 * MB, perSecond: 2 }
      await compare(gateway, '2 requests of 19 MB a second, let in', two, attack({ ...two, url: beside }))
    }
    if (!wants('profile')) return
    for (let i = 0; i < ROWS; i += 1_000) await store.appendInteractions(manyRows())
    for (const times of [1, 4]) {
      const job: Job = { kind: 'calls', url, key: FREE, path: '/v1/users/large/profile', method: 'GET', times }
      const from = performance.now()
      const { bytes } = await compare(gateway, `SQLite, a profile of ${ROWS} rows, ${times} at once`, job, quiet())
      console.log(`    ${(bytes / MB).toFixed(0)} MB, all of it in ${seconds(from)}`)
    }
    const job: Job = { kind: 'calls', url, key: FREE, path: '/v1/users/large/profile', method: 'DELETE', times: 1 }
    await compare(gateway, 'SQLite, erasing it', job, quiet())
  } finally {
    sink.kill()
    await store.close()
    await discard(gateway)
  }
}

const quiet = () => sleep(SECONDS * 1e3)
/** A gateway that tells the longest turn of its event loop, in milliseconds of processor. */
async function startWatched(more: Record<string, unknown>) {
  const dir = mkdtempSync(join(tmpdir(), 'attacks-'))
  const file = join(dir, 'longest-turn')
  const preload = new URL('../../support/longest-turn.mjs', import.meta.url).href
  const env = { NODE_OPTIONS: `--import=${preload}`, LONGEST_TURN: file }
  const gateway = await startGateway({ ...config, ...more }, { dir, env })
  /** Since it was asked last. */
  const longest = async () => {
    rmSync(file, { force: true })
    gateway.process.kill('SIGUSR2')
    while (!existsSync(file)) await sleep(20)
    return Number(readFileSync(file, 'utf8'))
  }
  return { gateway, longest }
}

const EMBEDDINGS = [{ name: 'embed', provider: 'up', price: { input: 0.02 } }]

/** Turns of the event loop that one large request takes: in them nobody else is served. */
async function onLarge() {
  const { gateway, longest } = await startWatched({
    providers: {
      ...config.providers,
      claude: { kind: 'anthropic', base_url: upstream.origin, key_required: false },
    },
    candidates: [
      { name: 'one', provider: 'up', price: { input: 1, output: 2 }, context_window: 100_000_000 },
      { name: 'two', provider: 'up', price: { input: 1, output: 2 }, context_window: 100_000_000, api: ['responses'] },
      { name: 'claude', provider: 'claude', price: { input: 1, output: 2 }, context_window: 100_000_000 },
    ],
    embeddings: EMBEDDINGS,
  })
  const text = 'Some "words",\n'.repeat(Math.round((19.5 * MB) / 17))
  // Each another one: what is the same is quoted once.
  const texts = Array.from({ length: 10_000 }, (_, i) => `${i} `.padEnd(1_750, 'Some "words", '))
  const turns = texts.map((content, i) => ({ role: i % 2 ? 'assistant' : 'user', content }))
  const parts = [{ role: 'user', content: texts.map((text) => ({ type: 'text', text })) }]
  const kinds: [string, string, (of: unknown) => object][] = [
    ['chat', '/v1/chat/completions', (messages) => ({ model: 'one', messages })],
    ['chat, routed', '/v1/chat/completions', (messages) => ({ model: 'auto', messages })],
    ['explain', '/v1/router/explain', (messages) => ({ model: 'auto', messages })],
    ['chat, told as Messages', '/v1/chat/completions', (messages) => ({ model: 'claude', messages })],
    ['chat, told as Responses', '/v1/chat/completions', (messages) => ({ model: 'two', messages })],
    ['Messages, told as chat', '/v1/messages', (messages) => ({ model: 'one', max_tokens: 9, messages })],
    ['Messages, counted', '/v1/messages/count_tokens', (messages) => ({ model: 'one', messages })],
    ['Responses, told as chat', '/v1/responses', (input) => ({ model: 'one', store: false, input })],
    ['Responses, kept', '/v1/responses', (input) => ({ model: 'one', input })],
    ['completions', '/v1/completions', () => ({ model: 'one', prompt: text })],
  ]
  const longestFor = async (path: string, bytes: string) => {
    const headers = { authorization: `Bearer ${FREE}`, 'content-type': 'application/json' }
    const turns: number[] = []
    let status = 0
    for (let i = 0; i < 4; i++) {
      await longest()
      const answer = await fetch(gateway.url + path, { method: 'POST', headers, body: bytes })
      await answer.arrayBuffer()
      status = answer.status
      await sleep(300)
      turns.push(await longest())
    }
    // The first of a kind is compiled meanwhile.
    return `longest turn ${Math.max(...turns.slice(1)).toFixed(0)} ms of CPU (${status})`
  }
  try {
    const input = Array.from({ length: 1_500 }, () => 'a')
    for (const [form, embedding] of 'embeddings'.includes(process.env.LARGE ?? '') ? VECTORS : []) {
      vector = embedding
      for (const encoding_format of ['float', 'base64']) {
        const told = await longestFor('/v1/embeddings', JSON.stringify({ model: 'embed', input, encoding_format }))
        console.log(`1,500 embeddings of 1,536 in ${form}, asked for in ${encoding_format}: ${told}`)
      }
    }
    vector = undefined
    for (const [what, answer] of 'answers'.includes(process.env.LARGE ?? '') ? largeAnswers() : []) {
      large = answer
      for (const [kind, path, body] of kinds.filter(([name]) => ANSWERED.includes(name))) {
        const asked = JSON.stringify(body([{ role: 'user', content: 'Hi' }]))
        console.log(
          `${(answer.length / MB).toFixed(1)} MB of ${what} as an answer, ${kind}: ${await longestFor(path, asked)}`,
        )
      }
    }
    large = undefined
    for (const [what, messages] of [
      ['one text', [{ role: 'user', content: text }]],
      ['10,000 messages', turns],
      ['10,000 parts', parts],
    ] as const) {
      const isAsked = ([name]: (typeof kinds)[number]) =>
        name.includes(process.env.LARGE ?? '') && (messages !== parts || /^(chat|Messages)/.test(name))
      for (const [kind, path, body] of kinds.filter(isAsked)) {
        const bytes = JSON.stringify(body(messages))
        console.log(`${(bytes.length / MB).toFixed(1)} MB of ${what}, ${kind}: ${await longestFor(path, bytes)}`)
      }
    }
  } finally {
    await discard(gateway)
  }
}

const ANSWERED = ['chat', 'Messages, told as chat', 'Responses, told as chat', 'Responses, kept', 'completions']

/** What a client can ask for: a picture; twenty other tokens beside each that was said. */
function largeAnswers(): [what: string, answer: Buffer][] {
  const other = { token: ' word', logprob: -0.123456, bytes: [32, 119, 111, 114, 100] }
  const content = Array.from({ length: 15_000 }, () => ({ ...other, top_logprobs: Array(20).fill(other) }))
  const answer = (message: object, more: object = {}) =>
    Buffer.from(
      JSON.stringify({
        ...{ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'm' },
        choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: 'stop', ...more }],
        usage: { prompt_tokens: 1, completion_tokens: 15_000, total_tokens: 15_001 },
      }),
    )
  return [
    ['a picture', answer({ content: 'x'.repeat(30 * MB) })],
    ['tokens', answer({ content: ' word'.repeat(15_000) }, { logprobs: { content } })],
  ]
}

const seconds = (from: number) => `${((performance.now() - from) / 1e3).toFixed(1)} s`
const manyRows = () => Array.from({ length: 1_000 }, () => anInteraction({ tenant: 'free', user: LARGE }))

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
      await direct.appendInteractions(manyRows())
      await Promise.all(
        Array.from({ length: 5_000 }, (_, k) =>
          direct.saveConversation('free', `c-${5 * i + k}`, { ...turn, promptTokens: 1, ts: 1 }, 86_400),
        ),
      )
    }
    await timesDuring(gateway, OTHER, sleep(2_000))
    await redis.command('CONFIG', 'SET', 'slowlog-log-slower-than', 1_000)
    await redis.command('SLOWLOG', 'RESET')
    const path = '/v1/users/large/profile'
    const job: Job = { kind: 'calls', url: gateway.url, key: FREE, path, method: 'DELETE', times: 1 }
    await compare(gateway, `Redis, erasing ${ROWS} rows and ${5 * ROWS} conversations`, job, quiet())
    const slow = (await redis.command('SLOWLOG', 'GET', 1_000)) as [number, number, number, string[]][]
    const [longest] = slow.sort(([, , a], [, , b]) => b - a)
    console.log(`    longest command of Redis ${(longest?.[2] ?? 0) / 1e3} ms (${longest?.[3][0] ?? 'none'})`)
  } finally {
    await direct.close()
    await discard(gateway)
    await redis.discard()
  }
}

/** Every other route, as often as one tenant, or nobody, can ask for it. */
async function onRoutes() {
  const redis = await startRedis()
  const [key] = LIMITED as [string]
  const { gateway, longest } = await startWatched({
    store: { kind: 'redis', url: redis.url },
    embeddings: EMBEDDINGS,
    passthrough: { '/v1/images/': { provider: 'up' } },
    feedback: { link_base_url: 'http://gateway.example' },
  })
  const told = async (what: string, during: Promise<Done | undefined>) => {
    await longest()
    const times = await timesDuring(gateway, OTHER, during)
    const statuses = Object.entries((await during)?.statuses ?? {}).map(([status, count]) => `${count} x ${status}`)
    console.log(`${what}: ${ms(times)}; longest turn ${(await longest()).toFixed(0)} ms of CPU; ${statuses.join(', ')}`)
  }
  try {
    await timesDuring(gateway, OTHER, sleep(2_000))
    await told('nothing', sleep(SECONDS * 1e3, undefined))
    const input = 'x'.repeat(200_000)
    const kept = await call(gateway, '/v1/responses', { key, body: { model: 'one', input } })
    const { id } = (await kept.json()) as { id: string }
    for (const { what, ...route } of routes(id)) {
      await told(
        `${route.perSecond} times a second ${what}`,
        attack({ kind: 'flood', url: gateway.url, key, seconds: SECONDS, ...route }),
      )
    }
    await told('nothing', sleep(SECONDS * 1e3, undefined))
  } finally {
    await discard(gateway)
    await redis.discard()
  }
}

if (['bodies', 'floods', 'kept', 'profile'].some(wants)) await onSqlite()
if (wants('routes')) await onRoutes()
if (wants('large')) await onLarge()
if (wants('redis')) await onRedis()
await upstream.close()
