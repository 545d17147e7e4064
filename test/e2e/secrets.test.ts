import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { adminCall, call, complete } from '../support/clients.ts'
import { eventually } from '../support/eventually.ts'
import { ADMIN_KEY, discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { openRaw, postText } from '../support/raw-http.ts'
import { exported } from '../support/records.ts'
import { chunkOf, type Exchange, replyPlain, replyStream, startUpstream, type Upstream } from '../support/upstream.ts'

const CANARY = {
  providerKey: 'sk-canary-PROVIDER-5f1c9d2e7b',
  headerSecret: 'canary-HEADER-SECRET-8a41c0',
  querySecret: 'canary-QUERY-SECRET-c07d13',
  tenantKey: 'pr-canary-TENANT-0d9a7e61f3',
  optedInKey: 'pr-canary-OPTED-IN-4be2c8a905',
  prompt: 'canary-PROMPT-the-heron-flies-at-dusk',
  answer: 'canary-ANSWER-the-otter-swims-at-dawn',
  comment: 'canary-COMMENT-quite-good',
  keptComment: 'canary-KEPT-COMMENT-very-good',
  user: 'canary-USER-ada-lovelace',
  conversation: 'canary-CONVERSATION-42',
  clientHeader: 'canary-CLIENT-HEADER-99',
}
const OPTED_IN_PROMPT = 'canary-OPTED-PROMPT-the-swan-sleeps'

let upstream: Upstream
let gateway: RunningGateway
let madeKey = ''
/** All that clients were told. */
const answers: string[] = []
const errors: string[] = []

/** Does badly in every way, and tells all it knows. */
const indiscreet = (status: number) => (exchange: Exchange) => {
  const { authorization } = exchange.request.headers
  const message = `Incorrect API key provided: ${authorization}`
  exchange.reply(
    status,
    { error: { message, type: 'x', param: null, code: null } },
    { 'x-debug': String(authorization) },
  )
}

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  gateway = await startGateway(
    {
      log: { level: 'debug' },
      providers: {
        up: {
          kind: 'openai-compatible',
          base_url: `${upstream.origin}/v1`,
          // biome-ignore lint/suspicious/noTemplateCurlyInString: the gateway's own, for the environment
          api_key: '${CANARY_PROVIDER_KEY}',
          headers: { 'x-secret': CANARY.headerSecret },
          query: { token: CANARY.querySecret },
        },
        away: {
          kind: 'openai-compatible',
          base_url: `http://user:${CANARY.headerSecret}@127.0.0.1:1/v1`,
          api_key: CANARY.providerKey,
        },
      },
      candidates: [
        { name: 'one', provider: 'up', price: { input: 1, output: 2 } },
        { name: 'away', provider: 'away', price: { input: 1, output: 2 }, groups: ['away'] },
      ],
      retries: { max_attempts: 2, backoff_ms: 1, breaker: { failures: 1000 } },
      timeouts: { first_byte_ms: 300, answer_ms: 300 },
      tenants: [
        { name: 'careful', keys: [CANARY.tenantKey], candidates: ['default', 'away'] },
        { name: 'open', keys: [CANARY.optedInKey], keep_text_days: 1, keep_comments: true },
      ],
    },
    { env: { CANARY_PROVIDER_KEY: CANARY.providerKey } },
  )
  gateway.key = CANARY.tenantKey
  await everything()
}, 60_000)
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

/** A run in which everything is done that a client can do, and everything goes wrong that can go wrong. */
async function everything(): Promise<void> {
  const messages = [
    { role: 'system', content: CANARY.prompt },
    { role: 'user', content: `${CANARY.prompt}?` },
  ]
  const options = {
    user: CANARY.user,
    headers: { 'x-conversation-id': CANARY.conversation, 'x-client': CANARY.clientHeader },
  }
  const ask = async (fields: Record<string, unknown> = {}, more: Record<string, unknown> = {}) => {
    const response = await complete(gateway, { messages, ...fields }, { ...options, ...more })
    const text = await response.text()
    ;(response.status < 400 ? answers : errors).push(JSON.stringify([...response.headers]), text)
    return { response, text }
  }

  upstream.play(replyPlain(200, answer()))
  const { text } = await ask()
  const { id } = JSON.parse(text)
  await call(gateway, '/v1/feedback', {
    ...options,
    body: { completion_id: id, rating: 'up', comment: CANARY.comment },
  })
  await ask({}, { key: CANARY.optedInKey, headers: {} })
  const opted = await ask({ messages: [{ role: 'user', content: OPTED_IN_PROMPT }] }, { key: CANARY.optedInKey })
  const request_id = opted.response.headers.get('x-request-id')
  const rated = { ...options, key: CANARY.optedInKey, body: { request_id, rating: 'up', comment: CANARY.keptComment } }
  await call(gateway, '/v1/feedback', rated)
  upstream.play(replyStream([chunkOf({ role: 'assistant', content: CANARY.answer }), chunkOf({}, 'stop')]))
  await ask({ stream: true })

  for (const status of [400, 401, 403, 404, 422, 429, 500, 503]) {
    upstream.play(indiscreet(status))
    await ask()
    await ask({ stream: true })
  }
  for (const garbage of [`<html>${CANARY.providerKey}</html>`, `{"key":"${CANARY.providerKey}"`, '']) {
    upstream.play(replyPlain(200, garbage))
    await ask()
    await ask({ stream: true })
  }
  upstream.play((exchange) => exchange.reset())
  await ask()
  upstream.play(async (exchange) => exchange.closed)
  await ask()
  upstream.play((exchange) => {
    exchange.stream()
    exchange.event(chunkOf({ content: CANARY.answer }))
    exchange.event({ error: { message: `boom ${CANARY.providerKey}`, type: 'x', param: null, code: null } })
    exchange.end()
  })
  await ask({ stream: true })
  await ask({ model: 'away' })

  upstream.play(replyPlain(200, answer()))
  await ask({ messages: CANARY.prompt })
  await ask({ temperature: CANARY.prompt })
  await ask({ user: 5, stop: 7 })
  await ask({ model: 'nobody' })
  await ask({}, { key: `${CANARY.tenantKey}-wrong` })
  await ask({}, { headers: { 'x-router-max-cost-usd': '0.0000000001' } })
  for (const broken of [`{"model":"one","messages":"${CANARY.prompt}`, `{"${CANARY.prompt}":1,"x"}`]) {
    const response = await call(gateway, '/v1/chat/completions', { ...options, body: broken })
    errors.push(await response.text())
  }
  const raw = await openRaw(gateway.url)
  raw.send(postText([`authorization: Bearer ${CANARY.tenantKey}`, `x-bad header: ${CANARY.prompt}`], CANARY.prompt))
  errors.push((await raw.answer()).body)

  const explained = await call(gateway, '/v1/router/explain', { ...options, body: { model: 'auto', messages } })
  answers.push(await explained.text())
  await call(gateway, `/v1/users/${CANARY.user}/profile`, { method: 'PUT', body: { cost_weight: 0.4 } })
  const made = await adminCall(gateway, '/keys', { body: { tenant: 'careful' } })
  madeKey = (await made.json()).key
  await ask({}, { key: madeKey })
  await eventually(async () => {
    const profile = await (await call(gateway, `/v1/users/${CANARY.user}/profile`)).json()
    return profile.interactions.length >= 15
  }, 'the records')
}

const answer = () => ({
  id: `chatcmpl-${Math.random()}`,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: CANARY.answer }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
})

const keys = () => [
  CANARY.providerKey,
  CANARY.headerSecret,
  CANARY.querySecret,
  CANARY.tenantKey,
  CANARY.optedInKey,
  ADMIN_KEY,
  madeKey,
]

/** As it is, and as it could be hidden from a plain search. */
const disguises = (secret: string) => {
  const bytes = Buffer.from(secret)
  return [
    bytes,
    Buffer.from(secret, 'utf16le'),
    Buffer.from(bytes.toString('base64').slice(0, -4)),
    Buffer.from(bytes.toString('hex')),
    Buffer.from(encodeURIComponent(secret)),
  ]
}

function expectNowhere(secrets: readonly string[], places: Record<string, string | Buffer>): void {
  for (const [place, content] of Object.entries(places)) {
    const bytes = Buffer.from(content as string)
    for (const secret of secrets) {
      const found = disguises(secret).some((disguise) => bytes.includes(disguise))
      expect([place, secret, found]).toEqual([place, secret, false])
    }
  }
}

/** Every file that the gateway wrote, its configuration left out. */
function filesOf(dir: string): Record<string, Buffer> {
  const files: Record<string, Buffer> = {}
  for (const name of readdirSync(dir, { recursive: true }).map(String)) {
    const path = join(dir, name)
    if (statSync(path).isFile() && name !== 'gateway.yaml') files[name] = readFileSync(path)
  }
  return files
}

describe('after a run in which everything was done and everything went wrong', () => {
  test('the run was one: answers, and errors of many kinds', () => {
    expect(answers.join()).toContain(CANARY.answer)
    expect(errors.length).toBeGreaterThan(30)
    expect(gateway.stdout().split('\n').length).toBeGreaterThan(20)
  })

  test('no key is in what was logged, stored, measured or told', async () => {
    const get = async (path: string) => (await fetch(gateway.url + path)).text()
    const status = await (await adminCall(gateway, '/status')).text()
    expectNowhere(keys(), {
      stdout: gateway.stdout(),
      stderr: gateway.stderr(),
      metrics: await get('/metrics'),
      readyz: await get('/readyz'),
      healthz: await get('/healthz'),
      status,
      answers: answers.join('\n'),
      errors: errors.join('\n'),
      ...filesOf(gateway.dir),
    })
  })

  test('what users wrote, and who they are, is in none of it either', async () => {
    const get = async (path: string) => (await fetch(gateway.url + path)).text()
    const { prompt, answer, user, conversation, clientHeader } = CANARY
    const private_ = [prompt, answer, user, conversation, clientHeader]
    expectNowhere([...private_, CANARY.comment, CANARY.keptComment, OPTED_IN_PROMPT], {
      stdout: gateway.stdout(),
      stderr: gateway.stderr(),
      metrics: await get('/metrics'),
      readyz: await get('/readyz'),
      errors: errors.filter((text) => !text.startsWith('data:')).join('\n'),
    })
    // A prompt of the tenant that opted in is kept; it asked the careful one's question, too.
    // A comment is kept where the tenant asked for it.
    expectNowhere([answer, user, conversation, clientHeader, CANARY.comment], filesOf(gateway.dir))
  })

  test('prompts are kept for the tenant that opted in, and for no other', async () => {
    const rows = await exported(gateway)
    const texts = (tenant: string) => rows.filter((row) => row.tenant === tenant).map(({ text }) => text)
    expect(texts('careful').length).toBeGreaterThan(15)
    expect(new Set(texts('careful'))).toEqual(new Set([null]))
    expect(texts('open')).toContainEqual(expect.stringContaining(OPTED_IN_PROMPT))
    // The scan would find it: it does find what may be there.
    const files = Object.values(filesOf(gateway.dir))
    expect(files.some((bytes) => bytes.includes(OPTED_IN_PROMPT))).toBe(true)
    expect(files.some((bytes) => bytes.includes(CANARY.keptComment))).toBe(true)
  })

  test('no address of a provider is told', () => {
    expectNowhere([upstream.origin, `127.0.0.1:${upstream.port}`, '127.0.0.1:1/'], {
      answers: answers.join('\n'),
      errors: errors.join('\n'),
    })
  })

  test('no stack is told, and nothing was an internal error', () => {
    expect(errors.join('\n')).not.toMatch(/\bat .*\.ts:\d+|node:internal|internal_error/)
    expect(gateway.stdout()).not.toContain('internal error')
  })
})
