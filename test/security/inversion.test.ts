import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { UserIds } from '../../src/candidates/tenants.ts'
import { loadConfig } from '../../src/config/load.ts'
import { openEmbedder } from '../../src/embedding/index.ts'
import { messagesOf, queriesOf } from '../../src/learning/belief.ts'
import { numbersOf, openState } from '../../src/routing/model/packed-state.ts'
import { runUser } from '../../src/routing/model/user-graph.ts'
import { Policies } from '../../src/routing/policies/policies.ts'
import type { Policy } from '../../src/routing/policy.ts'
import { dequantise, quantise } from '../../src/runtime/quantise.ts'
import { openStore } from '../../src/store/index.ts'
import type { Store } from '../../src/store/store.ts'
import { candidate, routerConfig, silent } from '../routing/support.ts'
import { COMMITTED } from '../support/artifacts.ts'
import { call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { exportedTo } from '../support/records.ts'
import { startRedis } from '../support/redis.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'
import { type Dictionary, matchingPursuit, normalised, recall, standardiser } from './inversion/matching-pursuit.ts'
import { readTokenTable } from './inversion/token-table.ts'

// A pursuit takes seconds of a core, on a busy machine a minute.
vi.setConfig({ testTimeout: 180_000 })

/** In each prompt, answer and comment: it must be nowhere. */
const MARK = 'Quenhilde'
const ANSWER = `Certainly, says ${MARK}.`
/** Words that the attack may name beyond as many as there are. */
const SPARE = 3
/** Above chance, in share of words: less is noise of so few prompts. */
const TOLERATED = 0.05

const PROMPTS = [
  'My patient John Baker has HIV and hepatitis',
  'Password for the vault is tiger orchid',
  'Is abortion legal in Texas for a 16 year old?',
  'How do I tell my wife that I lost our savings at poker?',
  'Write a Python function that merges two sorted lists',
  'Which antidepressant does not cause weight gain?',
  'Translate into French: the shipment of uranium arrives on Tuesday',
  'My daughter was diagnosed with leukemia last week, what now?',
  'Plan a surprise party for forty guests in Lisbon',
  'Our competitor will cut prices by thirty percent in March',
  'Compose a haiku about rusty bicycles in autumn rain',
  'Can my landlord evict me for feeding stray cats?',
].map((prompt) => `${prompt} ${MARK}`)
const CANDIDATES = ['one', 'two'].map((name) => ({ name, provider: 'up', price: { input: 1, output: 2 } }))
const POOL = CANDIDATES.map(({ name, price }) => candidate(name, { price }))
const userOf = (i: number) => `user-${i}`

const table = readTokenTable(join(COMMITTED, 'embedder'))
const words = PROMPTS.map((prompt) => table.words(prompt))
let policies: Policies
let policy: Policy
let vectors: Float32Array[]
let upstream: Upstream
/** What the reader reads in each word of the table alone. */
let readings: Dictionary

beforeAll(async () => {
  policies = await Policies.open({
    config: routerConfig({ artifact: COMMITTED, required: true }),
    openEmbedder: (artifact) => openEmbedder('static', artifact),
    loadEvidence: async () => new Map(),
    candidatesOf: () => [],
    log: silent,
  })
  policy = policies.snapshot('acme', 'ann').policy as Policy
  vectors = await Promise.all(PROMPTS.map((prompt) => policy.embedder.embed(prompt)))
  readings = await readEach(table)
  upstream = await startUpstream(replyPlain(200, { ...answerOf(ANSWER) }))
}, 120_000)
afterAll(async () => {
  await policies?.close()
  await upstream?.close()
})

const answerOf = (content: string) => ({
  id: `chatcmpl-${'0123456789abcdef'.repeat(2)}`,
  object: 'chat.completion',
  created: 1,
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 12, completion_tokens: 8, total_tokens: 20 },
})

async function readEach(words: Dictionary): Promise<Dictionary> {
  const { rows, width } = normalised(words)
  const { E, Q } = policy.router.artifact.dims
  // Features of a text's form are no words; those of a usual text.
  const form = vectors[0]!.subarray(width)
  const queries = Array.from({ length: rows.length / width }, (_, row) => {
    const query = new Float32Array(E)
    query.set(rows.subarray(row * width, (row + 1) * width))
    query.set(form, width)
    return query
  })
  const read = await policy.router.read(queries)
  const made = new Float32Array(queries.length * Q)
  for (const [row, one] of (read ?? []).entries()) made.set(one, row * Q)
  return { rows: made, width: Q }
}

/** The attack: what of each prompt's words is found from one vector of it, with a vector of each word to compare. */
function attack(kept: readonly Float32Array[], ofWords: Dictionary) {
  const standard = standardiser(ofWords)
  const dictionary = normalised({ rows: standard(ofWords.rows), width: ofWords.width })
  const found = kept.map((vector, i) => matchingPursuit(dictionary, standard(vector), words[i]!.size + SPARE))
  return recall(found, words)
}

test('the attack is one: it finds nearly all words of a query vector', () => {
  const { rows, width } = normalised(table)
  const found = vectors.map((vector, i) =>
    matchingPursuit({ rows, width }, dequantise(quantise(vector.slice(0, width))!), words[i]!.size + SPARE),
  )
  const { own, chance } = recall(found, words)
  expect(own).toBeGreaterThan(0.9)
  expect(own).toBeGreaterThan(chance + 0.6)
})

test('it finds none of them in what the reader reads, not even before rounding', async () => {
  const read = (await policy.router.read(vectors)) ?? []
  expect(read).toHaveLength(PROMPTS.length)
  for (const kept of [read, read.map((one) => dequantise(quantise(one)!))]) {
    const { own, chance } = attack(kept, readings)
    expect(own).toBeLessThan(chance + TOLERATED)
  }
})

interface Kept {
  config: Record<string, unknown> | undefined
  /** Everything that is kept, as bytes. */
  everything: (gateway: RunningGateway) => Promise<Buffer[]>
  close: () => Promise<void>
}

const filesUnder = (dir: string): Buffer[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'gateway.yaml')
    .map((entry) => readFileSync(join(entry.parentPath, entry.name)))

const sqlite = async (): Promise<Kept> => ({
  config: undefined,
  everything: async ({ dir }) => filesUnder(dir),
  close: async () => {},
})

async function onRedis(): Promise<Kept> {
  const server = await startRedis()
  const client = new Redis(server.url)
  return {
    config: { kind: 'redis', url: server.url },
    everything: async ({ dir }) => {
      const keys = await client.keys('*')
      const values = await Promise.all(keys.map((key) => contentOf(client, key)))
      return [...keys.map((key) => Buffer.from(key)), ...values.flat(), ...filesUnder(dir)]
    },
    close: async () => {
      client.disconnect()
      await server.discard()
    },
  }
}

async function contentOf(client: Redis, key: string): Promise<Buffer[]> {
  const type = await client.type(key)
  if (type === 'string') return [(await client.getBuffer(key)) as Buffer]
  if (type === 'hash') return Object.entries(await client.hgetallBuffer(key)).flatMap(([f, v]) => [Buffer.from(f), v])
  if (type === 'stream') return (await client.xrangeBuffer(key, '-', '+')).flatMap(([, fields]) => fields)
  if (type === 'set') return client.smembersBuffer(key)
  return client.zrangeBuffer(key, '0', '-1')
}

describe.each([
  ['SQLite', sqlite],
  ['Redis', onRedis],
])('under default settings, after all that clients do, in %s', (_, open) => {
  let kept: Kept
  let gateway: RunningGateway
  let store: Store
  let stored: (user: string) => string

  beforeAll(async () => {
    kept = await open()
    gateway = await startGateway({
      providers: {
        up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false, auth: 'none' },
      },
      candidates: CANDIDATES,
      router: { judge: { candidate: 'two', rate: 1 } },
      // Of `startGateway`'s own: here none is configured.
      identity: { secret: undefined },
      ...(kept.config && { store: kept.config }),
    })
    for (const [i, content] of PROMPTS.entries()) {
      const headers = { ...(i % 2 && { 'x-conversation-id': `conversation-${i}` }), 'idempotency-key': `key-${i}` }
      const who = { user: userOf(i), headers }
      const response = await complete(gateway, { messages: [{ role: 'user', content }] }, who)
      expect(await response.text()).toContain(MARK)
      await eventually(async () => {
        const again = await complete(gateway, { messages: [{ role: 'user', content }] }, who)
        return (await again.text()).includes(MARK) && again.headers.get('idempotency-replayed') === 'true'
      }, 'the answer is kept')
      const rating = { request_id: response.headers.get('x-request-id'), rating: 'up', comment: `${MARK} likes it` }
      expect((await call(gateway, '/v1/feedback', { user: userOf(i), body: rating })).status).toBe(202)
      const body = { model: 'auto', input: content }
      expect((await call(gateway, '/v1/responses', { user: userOf(i), body })).status).toBe(200)
    }
    store = await openStore(loadConfig(gateway.configFile).config.store)
    const ids = new UserIds([await store.sharedSecret('none was there')])
    stored = (user) => ids.stored({ name: 'test', plain_user_ids: false } as never, user)
    await eventually(async () => {
      for (const [i] of PROMPTS.entries()) {
        if ((await store.loadEdges('test', stored(userOf(i)))).length === 0) return false
      }
      return true
    }, 'all feedback is learned')
  }, 120_000)
  afterAll(async () => {
    await store?.close()
    await discard(gateway)
    await kept?.close()
  })

  test('no byte of what is kept is of a prompt, an answer or a comment, nor of a vector', async () => {
    const file = join(gateway.dir, 'exported.jsonl')
    expect(await exportedTo(file, gateway)).toBeGreaterThan(2 * PROMPTS.length)
    const everything = await kept.everything(gateway)
    expect(everything.some((bytes) => bytes.includes('chatcmpl-'))).toBe(true)
    for (const bytes of everything) {
      expect(bytes.includes(MARK), 'in clear').toBe(false)
      expect(bytes.includes(Buffer.from(MARK).toString('base64').slice(0, 11)), 'in base64').toBe(false)
    }
    for (const vector of vectors) {
      const pieces = traces(vector)
      for (const bytes of everything) for (const piece of pieces) expect(bytes.includes(piece)).toBe(false)
    }
  })

  test('what edges, log and export hold of a question gives none of its words', async () => {
    const edges = await Promise.all(PROMPTS.map((_, i) => store.loadEdges('test', stored(userOf(i)))))
    const ofEdges = await queriesOf(
      policy,
      edges.map(([edge]) => edge!),
    )
    const ofLog: Float32Array[] = []
    for (const [i] of PROMPTS.entries()) {
      for await (const [row] of store.readInteractions({ tenant: 'test', user: stored(userOf(i)) })) {
        expect(row?.embedding).toBeNull()
        const { int8, scale } = row!.reading!
        ofLog.push(dequantise({ int8: new Int8Array(Buffer.from(int8, 'base64')), scale }))
      }
    }
    for (const found of [ofEdges as Float32Array[], ofLog.slice(0, PROMPTS.length)]) {
      expect(found).toHaveLength(PROMPTS.length)
      const { own, chance } = attack(found, readings)
      expect(own).toBeLessThan(chance + TOLERATED)
    }
  })

  test('nor does the state of a user who rated once, to whoever knows some hundred words that they are among', async () => {
    const known = [
      ...new Set([...words.flatMap((some) => [...some]), ...Array.from({ length: 400 }, (_, i) => 2000 + 50 * i)]),
    ]
    const place = new Map(known.map((word, i) => [word, i]))
    const among = words.map((some) => new Set([...some].map((word) => place.get(word) as number)))
    const users = await Promise.all(PROMPTS.map((_, i) => store.loadUser('test', stored(userOf(i)))))
    const [edge] = await store.loadEdges('test', stored(userOf(0)))
    const { H, Q, S } = policy.router.artifact.dims
    const { cold } = policy.router
    const find = (name: string) => POOL.find((one) => one.name === name)
    const messages = await messagesOf(
      policy,
      'test',
      known.map((word) => ({ ...edge!, reading: quantise(readings.rows.slice(word * Q, (word + 1) * Q)) })),
      find,
    )
    /** What a state says beyond a new user's. */
    const learned = (state: Float32Array) => state.map((value, i) => value - (cold[i] as number))
    const rows = new Float32Array(known.length * S)
    for (const [i, one] of messages.entries()) {
      const sums = new Float32Array(H)
      sums.set(one!.user)
      const { state } = await runUser(policy.router.artifact.sessions.user, policy.router.artifact.dims, sums)
      rows.set(learned(state), i * S)
    }
    const standard = standardiser({ rows, width: S })
    const unit = normalised({ rows: standard(rows), width: S })
    const found = users.map((user, i) => {
      const state = openState(user!.state, cold)
      return matchingPursuit(unit, standard(learned(numbersOf(state!))), among[i]!.size + SPARE)
    })
    const { own, chance } = recall(found, among)
    expect(own).toBeLessThan(chance + TOLERATED)
  })
})

/** What would be left of a vector, however it was written: as int8 or float32, as they are or in base64. */
function traces(vector: Float32Array): Buffer[] {
  const { int8 } = quantise(vector)!
  const bytes = [Buffer.from(int8.buffer).subarray(30, 60), Buffer.from(vector.buffer, vector.byteOffset + 120, 32)]
  return bytes.flatMap((piece) => [
    piece,
    // Three ways to fall on groups of three bytes, without the group at either end.
    ...[0, 1, 2].map((skip) => Buffer.from(piece.subarray(skip).toString('base64').slice(0, 32))),
  ])
}
