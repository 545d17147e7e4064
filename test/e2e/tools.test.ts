import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { call } from '../support/clients.ts'
import { discard, type RunningGateway, startGateway } from '../support/gateway.ts'
import { replyPlain, startUpstream, type Upstream } from '../support/upstream.ts'

const QUESTION = 'Now fix the failing test.'
const SCHEMA = { type: 'object', properties: {} }
const names = Array.from({ length: 12 }, (_, i) => `tool_${i}`)
const inChat = names.map((name) => ({ type: 'function', function: { name, parameters: SCHEMA } }))
const inMessages = names.map((name) => ({ name, input_schema: SCHEMA }))
const inResponses = names.map((name) => ({ type: 'function', name, parameters: SCHEMA }))

let upstream: Upstream
let gateway: RunningGateway

beforeAll(async () => {
  upstream = await startUpstream(replyPlain())
  gateway = await startGateway({
    providers: { up: { kind: 'openai-compatible', base_url: `${upstream.origin}/v1`, key_required: false } },
    candidates: ['claude-sonnet-4-5', 'gpt-4o-mini'].map((name) => ({
      name,
      provider: 'up',
      capabilities: ['tools'],
      price: { input: 1, output: 4 },
    })),
  })
})
afterAll(async () => {
  await discard(gateway)
  await upstream?.close()
})

async function qualities(body: Record<string, unknown>): Promise<number[]> {
  const answer = await call(gateway, '/v1/router/explain', { body: { model: 'auto', ...body } })
  const { candidates }: { candidates: { name: string; quality: number | null }[] } = await answer.json()
  // By name: the able one, then the weak one. Null where the artifact didn't rank.
  const found = candidates.toSorted((a, b) => (a.name < b.name ? -1 : 1)).map(({ quality }) => quality)
  return found.map((quality) => quality ?? Number.NaN)
}

describe('tools of a request', () => {
  test('make it agents’ work, in every format alike', async () => {
    const messages = [{ role: 'user', content: QUESTION }]
    const [plain, chat, anthropic, responses, forbidden] = [
      await qualities({ messages }),
      await qualities({ messages, tools: inChat }),
      await qualities({ messages, tools: inMessages, max_tokens: 100 }),
      await qualities({ input: QUESTION, tools: inResponses }),
      await qualities({ messages, tools: inChat, tool_choice: 'none' }),
    ]
    expect(forbidden).toEqual(plain)
    expect(anthropic).toEqual(chat)
    expect(responses).toEqual(chat)
    const lead = ([able, weak]: number[]) => able! - weak!
    // Agents' work tells the able from the weak further apart.
    expect(lead(chat)).toBeGreaterThan(lead(plain) + 0.05)
  })
})
