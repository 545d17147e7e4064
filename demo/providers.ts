import { startEmulators } from '../test/emulators/index.ts'
import { shipped } from '../test/emulators/shipped.ts'
import { discard, startGateway } from '../test/support/gateway.ts'

const HELLO = [{ role: 'user', content: 'Hello' }]
const CALL = { id: 'functions.read:0', type: 'function', function: { name: 'read', arguments: '{"path":"a"}' } }
const TOOL = { type: 'function', function: { name: 'read', parameters: {} } }

/** Requests that work with one model and fail with another. */
const REQUESTS: [string, Record<string, unknown>][] = [
  ['temperature 0.2', { temperature: 0.2 }],
  ['max_tokens', { max_tokens: 1_000 }],
  ['reasoning_effort low', { reasoning_effort: 'low' }],
  ['n = 2', { n: 2 }],
  ['seed, store, metadata', { seed: 1, store: true, metadata: { team: 'a' } }],
  ['the developer role', { messages: [{ role: 'developer', content: 'Be brief.' }, ...HELLO] }],
  [
    'a PDF',
    {
      messages: [
        {
          role: 'user',
          content: [{ type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERi0=' } }],
        },
      ],
    },
  ],
  [
    'a JSON schema',
    {
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'a', schema: { type: 'object', properties: {}, additionalProperties: false } },
      },
    },
  ],
  [
    "another model's tool call",
    {
      tools: [TOOL],
      messages: [
        ...HELLO,
        { role: 'assistant', content: null, reasoning_content: 'hm', tool_calls: [CALL] },
        { role: 'tool', tool_call_id: CALL.id, content: 'ok' },
      ],
    },
  ],
]
/** One of each vendor. */
const CANDIDATES = [
  'gpt-5',
  'claude-sonnet-4-5',
  'gemini-2.5-flash',
  'mistral-small',
  'groq/llama-3.1-8b',
  'deepseek-chat',
]

/** The shipped configuration in front of emulators of the providers: whoever answers, the request works. */
export async function showProviders(): Promise<void> {
  const emulators = await startEmulators()
  const gateway = await startGateway(shipped(emulators))
  const row = (...cells: string[]) =>
    process.stdout.write(`${cells.map((cell, i) => cell.padEnd([27, 20][i] ?? 0)).join('')}\n`)
  const ask = (fields: Record<string, unknown>, allow: string) =>
    fetch(`${gateway.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.key}`, 'content-type': 'application/json', 'x-router-allow': allow },
      body: JSON.stringify({ model: 'auto', messages: HELLO, ...fields }),
    })
  try {
    row('request', 'model', 'what becomes of it under auto')
    for (const [name, fields] of REQUESTS) {
      for (const candidate of CANDIDATES) {
        const response = await ask(fields, candidate)
        const text = await response.text()
        const dropped = response.headers.get('x-router-dropped')
        const why = text.split('; ').find((part) => part.includes(`${candidate} `))
        const told = dropped === null ? 'answers' : `answers without ${dropped}`
        row(name, candidate, response.status === 200 ? told : `is not asked: ${why?.replace(/^.*?\) ?|"}}$/, '')}`)
      }
      const { headers, status } = await ask(fields, [...CANDIDATES, 'gpt-4o-mini'].join(','))
      row(name, 'any of them', `${status}, ${headers.get('x-router-model')}`)
    }
  } finally {
    await discard(gateway)
    await emulators.close()
  }
}
