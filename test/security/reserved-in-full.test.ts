import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { completionBody, type Exchange, startUpstream, type Upstream } from '../support/upstream.ts'

/**
 * Whatever makes an answer or a prompt longer is reserved, or does not reach the provider: one that bills each request
 * for all that it could be read as is never owed more than the budget.
 */
let upstream: Upstream
let gateway: RunningGateway
let billed = 0

const CAP = 0.05
const [INPUT, OUTPUT] = [10, 30]
/** What servers call the length of an answer; without any, this one writes as much as it can. */
const LENGTHS = `max_tokens max_completion_tokens max_output_tokens n_predict num_predict max_new_tokens max_length
  max_gen_len`.split(/\s+/)
const CONTEXT = 60_000
const FILE_TOKENS = 50_000

interface Read {
  [field: string]: unknown
  n?: number
  best_of?: number
  n_cmpl?: number
  num_return_sequences?: number
  prompt?: unknown
}

function bill({ json, request }: Exchange): { prompt_tokens: number; completion_tokens: number } {
  const body = json as Read
  const text = request.body.toString()
  const lengths = LENGTHS.map((field) => body[field]).filter((length) => typeof length === 'number')
  const longest = lengths.length === 0 || lengths.some((length) => length < 0) ? CONTEXT : Math.max(...lengths)
  const prompts = Array.isArray(body.prompt) && typeof body.prompt[0] !== 'number' ? body.prompt.length : 1
  const answers =
    prompts * Math.max(1, ...[body.n, body.best_of, body.n_cmpl, body.num_return_sequences].map(Number).filter(Boolean))
  // A byte a token, of characters that no vocabulary has.
  const rare = /[\u{12000}-\u{123ff}]/u.test(text) ? Buffer.byteLength(text) : 0
  const ofTokens = Array.isArray(body.prompt) ? body.prompt.flat().length : 0
  const read = Math.max(ofTokens, rare, Math.ceil(text.length / 4)) + (/elsewhere/.test(text) ? FILE_TOKENS : 0)
  billed += (read * INPUT + answers * longest * OUTPUT) / 1e6
  return { prompt_tokens: read, completion_tokens: answers * longest }
}

beforeAll(async () => {
  upstream = await startUpstream((exchange) => {
    const { prompt_tokens: read, completion_tokens: written } = bill(exchange)
    const [usage, told] = [
      { prompt_tokens: read, completion_tokens: written },
      { input_tokens: read, output_tokens: written },
    ]
    const { path } = exchange.request
    if (path.endsWith('/responses')) {
      const output = [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'Hello.' }] }]
      exchange.reply(200, { id: 'resp_1', object: 'response', status: 'completed', output, usage: told })
    } else if (path.endsWith('/messages')) {
      const content = [{ type: 'text', text: 'Hello.' }]
      exchange.reply(200, {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        content,
        stop_reason: 'end_turn',
        usage: told,
      })
    } else exchange.reply(200, completionBody('Hello.', { usage }))
  })
  const provider = { base_url: `${upstream.origin}/v1`, api_key: 'sk-provider-key-0123456789' }
  const candidate = { price: { input: INPUT, output: OUTPUT }, context_window: 200_000, groups: ['default'] }
  gateway = await startGateway({
    providers: {
      chat: { kind: 'openai-compatible', ...provider, api: ['chat', 'completions'] },
      responses: { kind: 'openai-compatible', ...provider, api: ['chat', 'responses'] },
      claude: { kind: 'anthropic', ...provider },
    },
    candidates: [
      { name: 'chat', provider: 'chat', ...candidate },
      { name: 'eight', provider: 'chat', ...candidate, defaults: { n: 8, max_tokens: 50 } },
      { name: 'eight-by-chat', provider: 'responses', ...candidate, defaults: { n: 8 } },
      { name: 'responses', provider: 'responses', ...candidate },
      { name: 'claude', provider: 'claude', ...candidate, max_output_tokens: CONTEXT },
    ],
    retries: { max_attempts: 1 },
    tenants: [{ name: 'test', keys: [KEY], user_limits: { usd_per_day: CAP } }],
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})
const KEY = 'pr-test-key-0123456789abcdef'

/** 12,000 bytes, $.03 by four characters a token: $.12 where each byte is one. */
const RARE = '\u{12041}'.repeat(3_000)
/** 4,000 tokens: $.04. */
const LONG = 'word '.repeat(3_200)
const hi = [{ role: 'user', content: 'Hi' }]
const said = (message: object) => ({ messages: [...hi, { role: 'assistant', content: 'a', ...message }, ...hi] })
const part = (...parts: object[]) => ({
  messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, ...parts] }],
})
const pdf = 'https://example.com/elsewhere.pdf'
const film = `data:video/mp4;base64,${'A'.repeat(16_000)}`

const CHAT: object[] = [
  ...LENGTHS.slice(1).map((field) => ({ [field]: 12_000 })),
  { n_predict: -1 },
  { best_of: 50, max_tokens: 100 },
  { n_cmpl: 50, max_tokens: 100 },
  { num_return_sequences: 50, max_tokens: 100 },
  { model: 'eight' },
  { model: 'eight', max_tokens: undefined, max_completion_tokens: 100 },
  { model: 'eight', max_tokens: null, n: 1 },
  { messages: [{ role: 'user', content: RARE }] },
  { tools: [{ type: 'function', function: { name: 'f', description: RARE } }] },
  said({ reasoning_content: RARE }),
  { prediction: { type: 'content', content: LONG } },
  { documents: [{ text: LONG }] },
  { chat_template_kwargs: { [LONG]: 1 } },
  said({ function_call: { name: 'f', arguments: LONG } }),
  said({ reasoning_content: LONG }),
  said({ content: [{ type: 'refusal', refusal: LONG }] }),
  said({ tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '漢'.repeat(4_000) } }] }),
  { messages: [{ role: 'user', name: LONG, content: 'Hi' }] },
  part({ type: 'document', document: { text: LONG } }),
  part({ type: 'image_url', image_url: { url: 'data:,', detail: LONG } }),
  part({ type: 'video_url', video_url: { url: film } }),
  part({ type: 'video_url', video_url: { url: pdf } }),
  part({ type: 'file', file: { file_data: pdf } }),
  { tools: [{ type: 'openrouter:web_search', note: 'elsewhere' }] },
]
const file = (source: object) => ({ messages: [{ role: 'user', content: [{ type: 'document', source }] }] })
const input = (inner: object) => ({ input: [{ role: 'user', content: [{ type: 'input_text', text: 'a' }, inner] }] })

const OTHERS: [path: string, body: object][] = [
  ['/v1/completions', { prompt: 'Hi', max_tokens: 100, best_of: 50 }],
  ['/v1/completions', { prompt: Array(50).fill('Hi'), max_tokens: 100 }],
  ['/v1/completions', { prompt: Array(50).fill([1, 2]), max_tokens: 100 }],
  ['/v1/completions', { prompt: Array(4_000).fill(7), max_tokens: 10 }],
  ['/v1/completions', { model: 'eight-by-chat', prompt: 'Hi', max_tokens: 150 }],
  ['/v1/completions', { prompt: RARE, max_tokens: 10 }],
  ['/v1/responses', { input: RARE }],
  ['/v1/messages', { messages: [{ role: 'user', content: RARE }] }],
  ['/v1/responses', input({ type: 'input_file', file_url: pdf })],
  ['/v1/responses', input({ type: 'input_file', file_id: 'elsewhere' })],
  ['/v1/responses', input({ type: 'input_text', text: 'a', note: LONG })],
  ['/v1/responses', { input: [{ type: 'compaction', encrypted_content: LONG }, ...hi] }],
  ['/v1/responses', { input: 'a', prompt: { id: 'elsewhere' } }],
  ['/v1/responses', { input: 'a', tools: [{ type: 'web_search', user_location: { city: 'elsewhere' } }] }],
  ['/v1/messages', file({ type: 'url', url: pdf })],
  ['/v1/messages', file({ type: 'file', file_id: 'elsewhere' })],
  ['/v1/messages', { messages: hi, tools: [{ type: 'web_search_20250305', name: 'elsewhere' }] }],
]
const OWN: Readonly<Record<string, object>> = {
  '/v1/completions': { model: 'chat' },
  '/v1/responses': { model: 'responses', max_output_tokens: 10 },
  '/v1/messages': { model: 'claude', max_tokens: 10 },
}

const CASES: [path: string, own: object, body: object][] = [
  ...CHAT.map((own): [string, object, object] => [
    '/v1/chat/completions',
    own,
    { model: 'chat', messages: hi, max_tokens: 10, ...own },
  ]),
  ...OTHERS.map(([path, own]): [string, object, object] => [path, own, { ...OWN[path], ...own }]),
]

describe('a budget', () => {
  test.each(CASES.map(([path, own], i) => [path, JSON.stringify(own).slice(0, 140), i] as const))(
    'is not overspent by %s %s',
    async (path, _, i) => {
      billed = 0
      const asked = () => call(gateway, path, { user: `user-${i}`, body: CASES[i]?.[2] })
      const answers = await Promise.all([asked(), asked(), asked(), asked()])
      const statuses = answers.map(({ status }) => status)
      expect(statuses.filter((status) => status !== 200 && status !== 429)).toEqual([])
      expect(billed).toBeLessThanOrEqual(CAP)
    },
  )

  test('pays for what is short, whatever it is told by', async () => {
    for (const body of [part({ type: 'image_url', image_url: { url: `data:image/png;base64,${film}` } }), said({})]) {
      const all = { model: 'chat', max_tokens: 10, ...body }
      expect((await call(gateway, '/v1/chat/completions', { user: 'other', body: all })).status).toBe(200)
    }
  })
})
